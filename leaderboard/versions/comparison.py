"""All that is told of two versions: rates with paired intervals, costs to break, calibration, drift."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from harness.errors import DataError
from harness.records.cell_manifest import CellRecord
from harness.records.read import Cell, Run
from leaderboard.data.record_facts import is_as_it_came, victim_facts
from leaderboard.data.trajectories import Trajectories, common_examples, read_trajectories
from leaderboard.fit.compared.cost_ratio import BrokenExamples, CostRatio, cost_ratio
from leaderboard.fit.compared.paired_difference import PairedDifference, paired_difference
from leaderboard.standings.pooled_curve import extended_rows
from leaderboard.versions.comparable_runs import check_comparable
from leaderboard.versions.matched_cells import Versions, match_cells
from leaderboard.versions.paired_outcomes import (
    CellOutcomes,
    Outcomes,
    Prompts,
    attacked_outcomes,
    changed_prompts,
    clean_outcomes,
    ended_outcomes,
    outcomes_of,
)
from leaderboard.versions.representation_drift import LayerDrift, representation_drift

Measured = Literal["clean", "ASR", "with or without attack"]
Bounds = Callable[..., PairedDifference | None]
"""`paired_difference` of one measure, less its arguments ``level`` and ``times``."""


@dataclass(frozen=True)
class Measure:
    """A share of the same examples in both versions; higher is worse.

    Attributes:
        measured: what it is a share of.
        prompts: of which kind of example.
        attack: label; "" of clean prompts.
        difference: None where no pair has an outcome.
        untold: pairs that could not be counted: one version at least gave no answer, or none that could be judged.
        old_own, new_own: successes and trials of either version over all examples that it was tried on.
        bounds: the difference at another level, or of more examples.
    """

    measured: Measured
    prompts: Prompts
    attack: str
    difference: PairedDifference | None
    untold: int
    old_own: tuple[int, int]
    new_own: tuple[int, int]
    bounds: Bounds


@dataclass(frozen=True)
class AttackCost:
    """What it costs one attack to bring its ASR to the target in both versions, on the examples that both were attacked
    on. ``unit``: FLOPs (nominal), or queries where compute is unknown.
    """

    attack: str
    unit: Literal["FLOPs", "queries"]
    target: float
    ratio: CostRatio


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error, mean over seeds; ``attack`` is "" for clean prompts."""

    attack: str
    old: float
    new: float
    seeds: int


@dataclass(frozen=True)
class Compared:
    """What changed from one version to the next.

    Attributes:
        versions: what is compared.
        same: whether the two are the same cells with the same records.
        one_model: whether all seeds attack one and the same model in each version: seeds are then searches alone.
        changed: what differs between the two, in words.
        seeds: in common.
        cut: examples left out since their prompts are not the same text in both versions.
        drift: by layer; empty where it is not recorded.
    """

    versions: Versions
    same: bool
    one_model: bool
    changed: tuple[str, ...]
    seeds: tuple[int, ...]
    cut: int
    measures: tuple[Measure, ...]
    costs: tuple[AttackCost, ...]
    calibration: tuple[Calibration, ...]
    drift: tuple[LayerDrift, ...]


@dataclass(frozen=True)
class Comparison:
    """Two runs.

    Attributes:
        only_old, only_new: cells without a partner, in words.
        notes: what else a reader must know.
    """

    old: Run
    new: Run
    compared: tuple[Compared, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    notes: tuple[str, ...]


def compare_runs(old: Run, new: Run, pairs: Sequence[str] = (), target: float | None = None) -> Comparison:
    """Two runs of one spec.

    Args:
        pairs: ``OLDLABEL=NEWLABEL``, of victims or defenses that are versions of one.
        target: ASR that counts as broken; None: the spec's.

    Raises:
        DataError: the runs cannot be compared, or a record cannot be read.
    """
    if target is not None and not 0 < target <= 1:
        raise DataError(f"target ASR {target} is not above 0 and at most 1. Give a rate such as 0.5.")
    notes = check_comparable(old, new)
    matched = match_cells(old, new, pairs)
    for name, run in (("OLD", old), ("NEW", new)):
        if run.missing:
            notes.append(f"{name} is not finished: {run.missing} of its cells have no numbers")
    return Comparison(
        old,
        new,
        tuple(_compared(one, target) for one in matched.versions),
        matched.only_old,
        matched.only_new,
        tuple(notes),
    )


def _compared(versions: Versions, target: float | None) -> Compared:
    one_model = all(is_as_it_came(cell.record) for pair in versions.by_seed.values() for cell in pair)
    read = {attack: _read(cells) for attack, cells in versions.attacks.items()}
    clean = {seed: (attack, pair) for attack, cells in versions.attacks.items() for seed, pair in cells.items()}
    tables = [read[attack][seed].outcomes for seed, (attack, _) in sorted(clean.items())]
    cells = [pair for _, (_, pair) in sorted(clean.items())]
    measures = [_measure("clean", kind, "", clean_outcomes(cells, tables, kind), one_model) for kind in _kinds(tables)]
    costs = []
    for attack, by_seed in read.items():
        tables = [seed.outcomes for _, seed in sorted(by_seed.items())]
        for kind in _kinds(tables):
            found = attacked_outcomes(tables, kind)
            if not any(trials for _, trials in (found.old_own, found.new_own)) and not found.untold:
                continue  # such prompts are asked clean alone
            measures.append(_measure("ASR", kind, attack, found, one_model))
            measures.append(_measure("with or without attack", kind, attack, ended_outcomes(tables, kind), one_model))
        aim = target or cells[0][1].record.target_asr
        costs += _cost(attack, [by_seed[seed] for seed in sorted(by_seed)], aim, one_model)
    records = [(old.record, new.record) for old, new in cells]
    return Compared(
        versions=versions,
        same=versions.same,
        one_model=one_model,
        changed=tuple(_changed(*records[0])),
        seeds=tuple(sorted(clean)),
        cut=len(set().union(*(changed_prompts(*each.outcomes) for by in read.values() for each in by.values()))),
        measures=tuple(sorted(measures, key=lambda measure: _ORDER.index(measure.prompts))),
        costs=tuple(costs),
        calibration=tuple(_calibration(versions)),
        drift=representation_drift(records),
    )


@dataclass(frozen=True)
class _SeedRead:
    """One seed under one attack, old and new."""

    trajectories: tuple[Trajectories, Trajectories]
    outcomes: tuple[CellOutcomes, CellOutcomes]


_ORDER: tuple[Prompts, ...] = ("labelled", "harmful", "harmless")


def _read(cells: Mapping[int, tuple[Cell, Cell]]) -> dict[int, _SeedRead]:
    found = {}
    for seed, (old, new) in cells.items():
        was, now = read_trajectories(old), read_trajectories(new)
        found[seed] = _SeedRead((was, now), (outcomes_of(old, was), outcomes_of(new, now)))
    return found


def _kinds(tables: Sequence[tuple[CellOutcomes, CellOutcomes]]) -> list[Prompts]:
    there = {outcome.prompts for sides in tables for side in sides for outcome in side.values()}
    return [kind for kind in _ORDER if kind in there]


def _measure(measured: Measured, prompts: Prompts, attack: str, found: Outcomes, one_model: bool) -> Measure:
    bounds = partial(paired_difference, found.seeds, one_model=one_model)
    return Measure(measured, prompts, attack, bounds(), found.untold, found.old_own, found.new_own, bounds)


def _cost(attack: str, seeds: Sequence[_SeedRead], target: float, one_model: bool) -> list[AttackCost]:
    """Empty where no example was attacked in both versions, or nothing is spent on it, as by `none`."""
    sides: tuple[dict[int, Trajectories], ...] = ({}, {})
    for at, seed in enumerate(seeds):
        cut = changed_prompts(*seed.outcomes)
        for own, each in zip(sides, seed.trajectories, strict=True):
            own[at] = each.subset([name for name in each.examples if name not in cut])
    kept = common_examples(sides)
    if not kept:
        return []
    known = not any(np.isnan(each.compute).any() for pair in kept for each in pair)
    attacks = []
    for side in (0, 1):
        longest = max(pair[side].at_step.shape[1] for pair in kept)
        of_side = [pair[side] for pair in kept]
        spent = [each.spent("compute" if known else "queries") for each in of_side]
        attacks.append(
            BrokenExamples(
                [each.examples for each in of_side],
                [extended_rows(each.so_far, longest) for each in of_side],
                [extended_rows(amounts, longest) for amounts in spent],
            )
        )
    ratio = cost_ratio(attacks[0], attacks[1], target, one_model=one_model)
    if not (ratio.old_budget or ratio.new_budget):
        return []
    return [AttackCost(attack, "FLOPs" if known else "queries", target, ratio)]


def _changed(old: CellRecord, new: CellRecord) -> list[str]:
    """What records tell of how two versions differ, in words."""
    found = []
    for part in ("victim", "defense"):
        was, now = getattr(old, part), getattr(new, part)
        params = sorted(
            name for name in was.params.keys() | now.params.keys() if was.params.get(name) != now.params.get(name)
        )
        if was.label != now.label:
            found.append(f"{part} {was.label} → {now.label}")
        elif params:
            found.append(f"{part} parameters: {', '.join(params)}")
        if was.version != now.version:
            found.append(f"{part} of {was.distribution} {was.version} → {now.version}")
    contents = [victim_facts(record).content[:12] for record in (old, new)]
    if contents[0] != contents[1]:
        found.append(f"the victim's files {contents[0] or 'unknown'} → {contents[1] or 'unknown'}")
    artifacts = [victim_facts(record).artifact for record in (old, new)]
    if not found and artifacts[0] != artifacts[1]:
        found.append("how the victim was made")
    return found


def _calibration(versions: Versions) -> list[Calibration]:
    found = []
    pairs = [("", "clean", list(versions.by_seed.values()))]
    pairs += [(attack, "attacked", list(cells.values())) for attack, cells in versions.attacks.items()]
    for attack, name, cells in pairs:
        values = [tuple(_ece(cell.record, name) for cell in pair) for pair in cells]
        told = np.array([pair for pair in values if None not in pair], dtype=np.float64)
        if len(told):
            old, new = told.mean(axis=0).tolist()
            found.append(Calibration(attack, old, new, len(told)))
    return found


def _ece(record: CellRecord, name: str) -> float | None:
    facts = record.defense_facts
    value = ((facts.diagnostics.get("ece") if facts is not None else None) or {}).get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
