"""Finding 1: the success of attacks on undefended victims against their size, at equal compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from leaderboard.arrays import Booleans, Floats
from leaderboard.data.count_table import CountTable, make_count_table
from leaderboard.data.record_facts import reference_flops
from leaderboard.data.trajectories import Trajectories
from leaderboard.fit.compute_to_target import SeedCurves
from leaderboard.fit.defense_efficiency import fit_efficiency
from leaderboard.fit.line import Line
from leaderboard.fit.pooled_rates import pooled_rate, shared_example_variance
from leaderboard.standings.json_numbers import rounded
from leaderboard.standings.pooled_curve import seed_curves
from leaderboard.study.finding import (
    DOES_NOT,
    HOLDS,
    UNTOLD,
    Finding,
    Row,
    Verdict,
    made_finding,
    rate_figure,
    slope_figure,
)
from leaderboard.study.ladder import MIN_SEEDS, ONE_SEED, Ladder, Rung, is_undefended, repeated_size
from leaderboard.study.size_order import SizeOrder, size_order
from leaderboard.table_numbers import UNKNOWN_COMPUTE, multiple

NO_LESS = -float(np.log10(2))  # decades of odds per decade of size: ten times the size halves the odds at most
ROUNDING = 1 + 1e-9  # sums of the same steps in another order differ in their last bits
SLOPE = "log10 odds per log10 parameters"


def undefended(ladders: Sequence[Ladder]) -> Finding:
    """A row for each ladder of two undefended sizes or more."""
    used = [ladder for ladder in ladders if is_undefended(ladder) and len(ladder.rungs) > 1]
    rows = [_row(ladder) for ladder in used]
    return made_finding("undefended", rows, "two undefended sizes of one family under one attack")


def _row(ladder: Ladder) -> Row:
    if reason := repeated_size(ladder) or ("" if ladder.seeds >= MIN_SEEDS else ONE_SEED):
        return Row(ladder.where, ladder.spec, (), UNTOLD, reason, ladder.notes)
    compute = equal_compute(ladder.rungs)
    if compute is None:
        return Row(ladder.where, ladder.spec, (), UNTOLD, f"{UNKNOWN_COMPUTE}: there is no equal compute", ladder.notes)
    broken = [[_broken_within(*each, compute) for each in _relative(rung)] for rung in ladder.rungs]
    line = _line(ladder, broken, compute)
    order = size_order([_relative_curves(rung) for rung in ladder.rungs], ladder.target)
    rates = []
    for rung, of_seeds in zip(ladder.rungs, broken, strict=True):
        names = [trajectories.examples for trajectories, _ in _relative(rung)]
        shared = shared_example_variance(names, [fell[:, None] for fell in of_seeds])
        rate = pooled_rate([int(fell.sum()) for fell in of_seeds], [len(fell) for fell in of_seeds], shared)
        rates += [] if rate is None else [rate_figure(rung.size, rate)]
    verdict, why = judge_order(order, line)
    at = f"ASR within {multiple(rounded(compute, 3))} the reference compute per example"
    return Row(ladder.where, ladder.spec, (slope_figure(SLOPE, line), *rates), verdict, f"{why}; {at}", ladder.notes)


def judge_order(order: SizeOrder, line: Line) -> tuple[Verdict, str]:
    """Holds where a larger size is surely easier to break than a smaller one, or where ten times the size surely does
    not halve the odds and is not surely of any use; does not where odds surely fall with size, and in no pair rise.
    """
    pairs = f"of {order.pairs} pairs the larger is surely easier to break in {order.smaller_more}, and harder in "
    why = f"{pairs}{order.larger_more}"
    if order.smaller_more:
        return HOLDS, why
    low, high = line.slope_ci or (-np.inf, np.inf)
    if high < 0:
        return DOES_NOT, why
    return (HOLDS if low > NO_LESS else UNTOLD), why


def equal_compute(rungs: Sequence[Rung]) -> float | None:
    """The least that any example which was not broken got, as a fraction of the reference compute; None where unknown.

    A search that stops at its first success spends less than its budget; one that has none spends it all.
    """
    relative = [(trajectories, compute) for rung in rungs for trajectories, compute in _relative(rung)]
    if any(np.isnan(compute).any() for _, compute in relative):
        return None
    full = [compute[~trajectories.so_far[:, -1], -1] for trajectories, compute in relative]
    spent = np.concatenate(full)
    return float(spent.min()) if len(spent) else max(float(compute.max()) for _, compute in relative)


def _relative(rung: Rung) -> list[tuple[Trajectories, Floats]]:
    """Of each seed its trajectories, and what was spent on each example so far, as a fraction of the reference."""
    (checkpoint,) = rung.rounds.values()
    return [
        (trajectories, trajectories.compute / reference_flops(record)) for trajectories, record in checkpoint.of_seeds
    ]


def _relative_curves(rung: Rung) -> SeedCurves:
    (checkpoint,) = rung.rounds.values()
    found = {
        seed: replace(trajectories, compute=trajectories.compute / reference_flops(checkpoint.cells[seed].record))
        for seed, trajectories in checkpoint.trajectories.items()
    }
    return seed_curves(found)


def _broken_within(trajectories: Trajectories, spent: Floats, compute: float) -> Booleans:
    """[E], whether an example fell before more than ``compute`` was spent on it."""
    fell: Booleans = np.logical_or.reduce(trajectories.at_step & (spent <= compute * ROUNDING), axis=1)
    return fell


def _line(ladder: Ladder, broken: Sequence[Sequence[Booleans]], compute: float) -> Line:
    """Log-odds at equal compute over log10 parameters, seeds as clusters."""
    table = _table(ladder, broken, compute)
    (fit,) = fit_efficiency(table, "n_params")
    return fit.line


def _table(ladder: Ladder, broken: Sequence[Sequence[Booleans]], compute: float) -> CountTable:
    found = [
        (rung.n_params, record.seed, len(fell), int(fell.sum()))
        for rung, of_seeds in zip(ladder.rungs, broken, strict=True)
        for (_, record), fell in zip(next(iter(rung.rounds.values())).of_seeds, of_seeds, strict=True)
    ]
    sizes, seeds, trials, successes = (np.array(column, dtype=np.int64) for column in zip(*found, strict=True))
    texts = {"task": ladder.scope.task, "family": ladder.family, "attack": ladder.attack}
    columns = {name: np.full(len(found), text, dtype=object) for name, text in texts.items()}
    numbers = {"n_params": sizes, "seed": seeds, "trials": trials, "successes": successes}
    same = {"iteration": np.ones_like(sizes), "attack_compute": np.full(len(found), compute)}
    return make_count_table("records", columns | numbers | same)
