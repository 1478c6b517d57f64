"""Standings: one row per victim and defense (and its round), seeds merged, computed from records alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from harness.flops import known
from harness.records.read import Cell, Run
from leaderboard.data.defense_cost import Overhead, Undefended, marks, overhead, undefended_answers
from leaderboard.data.from_run import cells_table, defense_flops, defense_round, facts, reference_flops, replayed_from
from leaderboard.data.sections import Section, common_target, sections
from leaderboard.data.table import Table
from leaderboard.data.trajectories import Trajectories, trajectories
from leaderboard.fit.intervals import Rate, pooled_rate
from leaderboard.fit.offense_defense import OffenseDefense
from leaderboard.fit.round_slopes import balances
from leaderboard.parallel import shared
from leaderboard.standings.attack_curves import AttackCurve, attack_curve, by_attack
from leaderboard.standings.cost_to_break import Breaking, breakings
from leaderboard.standings.ranks import ranks
from leaderboard.standings.worst_case import WorstCase, worst_case


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
        each: the same of each attack alone.
        defense_compute: search and training, FLOPs (nominal), mean over seeds; None where unknown.
        reference_compute: FLOPs (nominal) of pretraining, or of preparation where there was none; mean over seeds; None
            where unknown.
        overhead: what the defense adds to each answer; None where records do not say.
        marks: what records say of the evaluation, such as "adaptive" or "static".
        seeds: how many.
        curves: one per attack.
        worst: all attacks together; None with fewer than two that attacked the same examples.
        replayed: the attacks that try strings found elsewhere; what that took is not in their compute.
        unparseable: answers of which a judging model said nothing that is a verdict; they count as no success.
        failures: why attack strings counted as failed without being judged, and at how many steps.
        rank: by cost to break, 1 is hardest; see `ranks`.
        balance: what breaking costs against what the defense cost, over its rounds; None without several.
        cells: the records behind the row.
    """

    victim: str
    family: str
    n_params: int | None
    defense: str
    round: int | None
    clean: Rate | None
    strongest: AttackCurve | None
    breaking: Breaking | None
    each: dict[str, Breaking]
    defense_compute: float | None
    reference_compute: float | None
    overhead: Overhead | None
    marks: tuple[str, ...]
    seeds: int
    curves: tuple[AttackCurve, ...]
    worst: WorstCase | None
    replayed: tuple[str, ...]
    unparseable: int
    failures: dict[str, int]
    rank: int | None = None
    balance: OffenseDefense | None = None
    cells: tuple[Cell, ...] = field(default=(), repr=False)

    @property
    def static(self) -> bool:
        """Whether no attack on it knew of the defense."""
        return self.marks == ("static",)

    @property
    def asr(self) -> Rate | None:
        """At full budget: of all attacks together where several attacked the same examples, else of the strongest."""
        if self.worst is not None:
            return self.worst.full.asr
        return None if self.strongest is None else self.strongest.points[-1].asr


@dataclass(frozen=True)
class Standings:
    """A section's table: hardest to break first."""

    section: Section
    target: float
    rows: tuple[Standing, ...]


def standings(runs: Sequence[Run], target: float | None = None, processes: int = 1) -> list[Standings]:
    """One table per section of ``runs``.

    Args:
        runs: run directories, read.
        target: attack success rate that counts as broken; the spec's own when None.
        processes: how many may share the rows of many cells; see `shared`.
    """
    found = [(section, common_target(section, target)) for section in sections(runs)]
    groups = [_groups(section) for section, _ in found]
    jobs = []
    for (section, aim), each in zip(found, groups, strict=True):
        undefended = undefended_answers([cell.record for cell in section.cells])
        jobs += [(rounds, aim, undefended) for rounds in each]
    cells = [cell for rounds, _, _ in jobs for each in rounds for cell in each]
    # The table of a submission is a mapped file, which no other process is sent.
    rows = iter(shared(_rows, jobs, len(cells), processes if all(type(cell) is Cell for cell in cells) else 1))
    return [
        _ranked(section, aim, [_with_cells(next(rows), rounds) for rounds in each])
        for (section, aim), each in zip(found, groups, strict=True)
    ]


Rounds = list[list[Cell]]
Job = tuple[Rounds, float, Undefended]


def _groups(section: Section) -> list[Rounds]:
    """The cells of each victim and defense, by round: each round is a row."""
    groups: dict[tuple[str, str, str], dict[int, list[Cell]]] = {}
    for cell in section.cells:
        record = cell.record
        key = (facts(record).family, record.victim.label, record.defense.label)
        groups.setdefault(key, {}).setdefault(defense_round(record), []).append(cell)
    return [[cells for _, cells in sorted(rounds.items())] for _, rounds in sorted(groups.items())]


def _rows(job: Job) -> list[Standing]:
    """The rows of one victim and defense at a target, unranked, without the cells: another process may make them."""
    rounds, target, undefended = job
    rows, counts = [], []
    for cells in rounds:
        row, table = _standing(cells, target, undefended)
        rows.append(row)
        counts += [table] if table is not None and row.round is not None else []
    slopes = balances(counts, target)
    of_attack = [None if row.breaking is None else row.breaking.attack for row in rows]
    return [
        replace(row, balance=slopes.get((row.family, row.victim, row.defense, attack)))
        for row, attack in zip(rows, of_attack, strict=True)
    ]


def _with_cells(rows: Sequence[Standing], rounds: Rounds) -> list[Standing]:
    return [replace(row, cells=tuple(cells)) for row, cells in zip(rows, rounds, strict=True)]


def _ranked(section: Section, target: float, found: Sequence[Sequence[Standing]]) -> Standings:
    rows = [row for each in found for row in each]
    # A static attack does not know of the defense: what it costs to break is no worst case.
    placed = ranks([None if row.static else row.breaking for row in rows])
    ranked = [replace(row, rank=rank) for row, rank in zip(rows, placed, strict=True)]
    return Standings(section, target, tuple(sorted(ranked, key=_hardest_first)))


Paths = dict[str, dict[int, Trajectories]]


def _standing(cells: Sequence[Cell], target: float, undefended: Undefended) -> tuple[Standing, Table | None]:
    attacks = by_attack(cells)
    paths: Paths = {name: {seed: trajectories(cell) for seed, cell in seeds.items()} for name, seeds in attacks.items()}
    curves = tuple(attack_curve(name, attacks[name], paths[name]) for name in sorted(paths))
    attacked = [curve for curve in curves if curve.points]
    replayed = tuple(sorted({cell.record.attack.label for cell in cells if replayed_from(cell.record)}))
    # What it took to find strings elsewhere is not known here: no compute to compare.
    broken, each = breakings(paths, target, frozenset(replayed))
    # A seed's clean examples are the same whatever the attack.
    per_seed = {cell.record.seed: cell.record for cell in cells}
    first = cells[0].record
    round_ = None if first.defense_facts is None else first.defense_facts.round
    found = [path for seeds in paths.values() for path in seeds.values()]
    row = Standing(
        victim=first.victim.label,
        family=facts(first).family,
        n_params=facts(first).n_params,
        defense=first.defense.label,
        round=round_,
        clean=pooled_rate([r.n_clean_correct for r in per_seed.values()], [r.n_clean for r in per_seed.values()]),
        strongest=max(attacked, key=_strength) if attacked else None,
        breaking=broken,
        each=each,
        defense_compute=known(float(np.mean([defense_flops(r) for r in per_seed.values()]))),
        reference_compute=known(float(np.mean([reference_flops(r) for r in per_seed.values()]))),
        overhead=overhead([cell.record for cell in cells], undefended),
        marks=marks([cell.record for cell in cells]),
        seeds=len(per_seed),
        curves=curves,
        worst=worst_case(paths),
        replayed=replayed,
        unparseable=sum(path.unparseable for path in found),
        failures=dict(sorted(sum((Counter(path.failures) for path in found), Counter[str]()).items())),
    )
    with_rounds = [(cell, paths[name][seed]) for name, seeds in attacks.items() for seed, cell in seeds.items()]
    return row, cells_table(first.defense.label, with_rounds) if round_ is not None else None


def _strength(curve: AttackCurve) -> tuple[float, float, float]:
    last = curve.points[-1]
    return last.asr.value, -np.inf if last.compute is None else -last.compute, -last.queries


def _hardest_first(row: Standing) -> tuple[int, bool, int, float, float, str, str, int]:
    """By rank, then by the cost itself. Static rows come after those with a rank, rows of unknown compute after those
    that can be compared, and those that were not attacked last.
    """
    found = row.breaking
    if found is None:
        place, cost = 2, 0.0
    elif found.compute is not None:
        place, cost = 0, found.compute
    elif found.within is not None and not found.reached:
        place, cost = 0, np.inf
    else:
        place, cost = 1, 0.0 if found.reached else np.inf
    asr = row.asr.value if row.asr else 0.0
    return (place, row.static, row.rank or 0, -cost, asr, row.victim, row.defense, row.round or 0)
