"""Simulated tables: how often equal rows are put into an order, and unequal ones told apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from leaderboard.arrays import Booleans, Floats
from leaderboard.fit.compared.harder_to_break import surely_harder
from leaderboard.fit.compute_to_target import SeedCurves
from leaderboard.standings.ranks.ranks import MIN_SEEDS, ranks
from tests.benchmarks.intervals.designs import Figures, counted
from tests.benchmarks.intervals.rates_and_costs import MANY, SEEDS
from tests.benchmarks.intervals.simulated_seeds import Seeds

SHARED_LUCK = 0.9  # of the variance between seeds, of rows that are kin
Table = list[list[SeedCurves]]
"""Of each row the curves of its attacks."""


@dataclass(frozen=True)
class Equals:
    """Equal rows: in how many tables any of them is ranked above another.

    Attributes:
        spread: between seeds, of the log-odds (natural) and of the logarithm of the slope.
        attacks: on each row; the cheapest counts.
        never: more rows that are hardly ever broken, and not counted.
        kin: rows in a group whose seeds have most of their luck in common, as the rounds of a defense have.
        loud: rows whose seeds differ five times as much as those of the others.
    """

    rows: int
    seeds: int
    examples: int = 32
    spread: tuple[float, float] = (0.56, 0.4)
    asr: float = 0.8
    target: float = 0.5
    attacks: int = 1
    never: int = 0
    loud: int = 0
    kin: int = 1

    @property
    def name(self) -> str:
        more = f", {self.attacks} attacks" * (self.attacks > 1)
        more += f", beside {self.never} that are hardly ever broken" * (self.never > 0)
        more += f", seeds of {self.loud} differ five times as much" * (self.loud > 0)
        more += f", {self.kin} at a time share their seeds' luck" * (self.kin > 1)
        if self.spread != (0.56, 0.4):
            more += f", seeds differ by {self.spread[0]:g} and {self.spread[1]:g}"
        shape = f"{self.rows} rows, {counted(self.seeds)} × {self.examples}"
        return f"{shape}, ASR {self.asr:g}, target {self.target:g}{more}"

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        spreads = [self.spread] * self.rows
        if self.loud:
            spreads = [(1.0, 0.5)] * self.loud + [(0.2, 0.1)] * (self.rows - self.loud)
        made = [Seeds(self.asr, *spread) for spread in spreads]
        made += [Seeds(0.01, *self.spread)] * self.never
        wrong = 0
        for _ in range(studies):
            luck = self._luck(rng, len(made))
            table = [
                [each.draw(rng, self.seeds, self.examples, own) for _ in range(self.attacks)]
                for each, own in zip(made, luck, strict=True)
            ]
            wrong += bool(_order(table, self.target)[: self.rows, : self.rows].any())
        return {"false order": wrong / studies}

    def _luck(self, rng: np.random.Generator, rows: int) -> Floats:
        """Of the seeds of each row, in level and slope; [rows, 2, S]."""
        own = rng.normal(size=(rows, 2, self.seeds))
        if self.kin == 1:
            return own
        common = np.repeat(rng.normal(size=(rows // self.kin, 2, self.seeds)), self.kin, axis=0)
        return np.asarray(np.sqrt(SHARED_LUCK) * common + np.sqrt(1 - SHARED_LUCK) * own)


def _order(table: Table, target: float) -> Booleans:
    """[R, R], whether row i is ranked above row j, all rows being of as many seeds."""
    if len(table[0][0].trials) < MIN_SEEDS:
        assert all(rank.best is None for rank in ranks(table, target))
        return np.zeros((len(table), len(table)), dtype=np.bool_)
    return surely_harder(table, target)


@dataclass(frozen=True)
class Unequal:
    """Half of the rows take ``factor`` times the compute: how many pairs are told apart correctly."""

    rows: int
    seeds: int
    factor: float
    examples: int = 32
    spread: tuple[float, float] = (0.56, 0.4)
    asr: float = 0.6

    @property
    def name(self) -> str:
        return f"{self.rows} rows, {counted(self.seeds)} × {self.examples}, compute × {self.factor:g}"

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        hard = Seeds(self.asr, *self.spread, steps=64)
        odds = self.asr / (1 - self.asr) * self.factor**hard.slope
        easy = replace(hard, asr=odds / (1 + odds))
        half, right, wrong = self.rows // 2, [], 0
        for _ in range(studies):
            made = [hard] * half + [easy] * (self.rows - half)
            order = _order([[each.draw(rng, self.seeds, self.examples)] for each in made], 0.5)
            right.append(float(order[:half, half:].mean()))
            wrong += bool(order[:half, :half].any() or order[half:].any())
        return {"told apart correctly": float(np.mean(right)), "false order": wrong / studies}


EQUALS = [Equals(6, seeds, examples) for examples in (32, 100) for seeds in SEEDS]
EQUALS += [Equals(rows, seeds) for rows in (2, 12) for seeds in MANY]
EQUALS += [Equals(6, seeds, asr=asr, target=target) for asr, target in ((0.97, 0.5), (0.5, 0.1)) for seeds in MANY]
EQUALS += [Equals(6, seeds, spread=spread) for spread in ((0.0, 0.0), (0.56, 0.49), (1.0, 0.5)) for seeds in MANY]
EQUALS += [Equals(6, seeds, attacks=3) for seeds in MANY]
EQUALS += [Equals(12, seeds, 100, asr=0.95, kin=6) for seeds in MANY]
EQUALS += [Equals(6, seeds, 100, loud=1) for seeds in MANY] + [Equals(6, seeds, asr=0.97, never=6) for seeds in MANY]
UNEQUALS = [
    Unequal(6, seeds, factor, examples) for factor in (2.0, 3.0, 10.0) for seeds in MANY for examples in (32, 100)
]
