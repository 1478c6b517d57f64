"""Standings: one row per victim and defense (and its round), seeds merged, computed from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.records.read import Cell, Run
from harness.records.unknown import known
from leaderboard.attack_curves import AttackCurve, attack_curve, by_attack
from leaderboard.breaking import Breaking, breaking
from leaderboard.from_run import defense_flops, defense_round, facts, reference_flops, replayed_from
from leaderboard.intervals import Rate, pooled_rate
from leaderboard.sections import Section, common_target, sections
from leaderboard.trajectories import trajectories
from leaderboard.worst_case import WorstCase, worst_case


@dataclass(frozen=True)
class Standing:
    """One row of a leaderboard table.

    Attributes:
        victim, family, defense: labels.
        n_params: parameters of the model as used; None where unknown.
        round: the defense's round, None without rounds.
        clean: share of clean examples answered rightly (in text: without a success of the attacker), seeds pooled; None
            when none was asked.
        strongest: the curve with the highest ASR at full budget (the cheaper one when equal, in queries where compute
            is unknown); None when nothing was attacked.
        breaking: cost to reach the target ASR, of attacks that search for themselves where there are any; None when
            nothing was attacked.
        defense_compute: search and training, FLOPs (nominal), mean over seeds; None where unknown.
        reference_compute: FLOPs (nominal) of pretraining, or of preparation where there was none; mean over seeds; None
            where unknown.
        seeds: how many.
        curves: one per attack.
        worst: all attacks together; None with fewer than two that attacked the same examples.
        replayed: the attacks that try strings found elsewhere; what that took is not in their compute.
        unparseable: answers of which a judging model said nothing that is a verdict; they count as no success.
    """

    victim: str
    family: str
    n_params: int | None
    defense: str
    round: int | None
    clean: Rate | None
    strongest: AttackCurve | None
    breaking: Breaking | None
    defense_compute: float | None
    reference_compute: float | None
    seeds: int
    curves: tuple[AttackCurve, ...]
    worst: WorstCase | None
    replayed: tuple[str, ...]
    unparseable: int


@dataclass(frozen=True)
class Standings:
    """A section's table: hardest to break first."""

    section: Section
    target: float
    rows: tuple[Standing, ...]


def standings(runs: Sequence[Run], target: float | None = None) -> list[Standings]:
    """One table per section of ``runs``.

    Args:
        runs: run directories, read.
        target: attack success rate that counts as broken; the spec's own when None.
    """
    out = []
    for section in sections(runs):
        goal = common_target(section, target)
        groups: dict[tuple[str, str, str, int], list[Cell]] = {}
        for cell in section.cells:
            record = cell.record
            key = (facts(record).family, record.victim.label, record.defense.label, defense_round(record))
            groups.setdefault(key, []).append(cell)
        rows = [_standing(cells, goal) for _, cells in sorted(groups.items())]
        out.append(Standings(section, goal, tuple(sorted(rows, key=_hardest_first))))
    return out


def _standing(cells: Sequence[Cell], target: float) -> Standing:
    attacks = by_attack(cells)
    paths = {name: {seed: trajectories(cell) for seed, cell in seeds.items()} for name, seeds in attacks.items()}
    curves = tuple(attack_curve(name, attacks[name], paths[name]) for name in sorted(paths))
    attacked = [curve for curve in curves if curve.points]
    replayed = tuple(sorted({cell.record.attack.label for cell in cells if replayed_from(cell.record)}))
    # A seed's clean examples are the same whatever the attack.
    per_seed = {cell.record.seed: cell.record for cell in cells}
    first = cells[0].record
    round_ = None if first.defense_facts is None else first.defense_facts.round
    return Standing(
        victim=first.victim.label,
        family=facts(first).family,
        n_params=facts(first).n_params,
        defense=first.defense.label,
        round=round_,
        clean=pooled_rate([r.n_clean_correct for r in per_seed.values()], [r.n_clean for r in per_seed.values()]),
        strongest=max(attacked, key=_strength) if attacked else None,
        # What it took to find strings elsewhere is not known here: no compute to compare.
        breaking=breaking({name: found for name, found in paths.items() if name not in replayed} or paths, target),
        defense_compute=known(float(np.mean([defense_flops(r) for r in per_seed.values()]))),
        reference_compute=known(float(np.mean([reference_flops(r) for r in per_seed.values()]))),
        seeds=len(per_seed),
        curves=curves,
        worst=worst_case(paths),
        replayed=replayed,
        unparseable=sum(found.unparseable for each in paths.values() for found in each.values()),
    )


def _strength(curve: AttackCurve) -> tuple[float, float, float]:
    last = curve.points[-1]
    return last.asr.value, -np.inf if last.compute is None else -last.compute, -last.queries


def _hardest_first(row: Standing) -> tuple[int, float, float, str, str, int]:
    """Rows of unknown compute come after those that can be compared, and those that were not attacked last."""
    found = row.breaking
    if found is None:
        place, cost = 2, 0.0
    elif found.compute is not None:
        place, cost = 0, found.compute
    elif found.within is not None and not found.reached:
        place, cost = 0, np.inf
    else:
        place, cost = 1, 0.0 if found.reached else np.inf
    asr = row.strongest.points[-1].asr.value if row.strongest else 0.0
    return (place, -cost, asr, row.victim, row.defense, row.round or 0)
