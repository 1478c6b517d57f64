"""How ranks change between judges of the same answers: a run and what `harness run --from` has made of it.

The rows of several tables that differ in their judge alone, ranked under each judge among themselves, all victims
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np

from harness.errors import DataError
from leaderboard.arrays import Booleans, Floats
from leaderboard.fit.compared.harder_to_break import surely_harder
from leaderboard.fit.pooled_rates import Rate
from leaderboard.standings.cost_to_break import CostToBreak
from leaderboard.standings.ranks.comparable import rank_divisors
from leaderboard.standings.ranks.ranks import MIN_SEEDS, Rank, ranks
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings, across_victims

Certainty = Literal["certainly", "within intervals"]


@dataclass(frozen=True)
class JudgedRow:
    """A victim and defense under one judge.

    Attributes:
        rank: among the rows that all judged, of those that this judge's numbers let compare; else why not.
        asr: at full budget; None where nothing was attacked.
        cost: what it takes to break it, by this judge.
    """

    rank: Rank
    asr: Rate | None
    cost: CostToBreak | None


@dataclass(frozen=True)
class Swap:
    """Two rows whose order two judges turn round: the first is harder to break by the one, easier by the other."""

    harder: str
    easier: str
    certainty: Certainty


@dataclass(frozen=True)
class JudgePair:
    """Two judges of the same answers.

    Attributes:
        tau: Kendall's tau-b between their orders by what it costs to break, over the rows that both can compare; None
            where fewer than two are left, or one of them has all rows tied.
        pairs: of rows.
        tied: pairs of which one of them or both has no order: rows that did not reach the target, at one ASR.
        swaps: pairs whose order is another, the certain ones first.
    """

    one: str
    other: str
    tau: float | None
    pairs: int
    tied: int
    swaps: tuple[Swap, ...]


@dataclass(frozen=True)
class JudgeComparison:
    """One task and threat model under several judges.

    Attributes:
        judges: by label, as they were given.
        rows: label of each row with what every judge makes of it.
        apart: rows that are not compared, and why.
    """

    task: str
    threat: str
    target: float
    judges: tuple[str, ...]
    rows: tuple[tuple[str, tuple[JudgedRow, ...]], ...]
    pairs: tuple[JudgePair, ...]
    apart: tuple[tuple[str, str], ...]


def judge_comparisons(tables: Sequence[Standings]) -> list[JudgeComparison]:
    """Of each task and threat model that several judges have judged; empty where none has."""
    groups: dict[tuple[Any, ...], list[Standings]] = {}
    for table in map(across_victims, tables):
        scope = table.section.scope
        same = (scope.task, scope.threat, scope.data_hash, scope.accounting, scope.stop_on_success, scope.space)
        groups.setdefault((*same, table.target), []).append(table)
    found = []
    for of_group in groups.values():
        if len({table.section.scope.judge for table in of_group}) > 1 and (one := _compared(of_group)) is not None:
            found.append(one)
    return found


def require_comparisons(tables: Sequence[Standings]) -> list[JudgeComparison]:
    """As `judge_comparisons`. Raises `DataError` where there is nothing to compare, and says why."""
    found = judge_comparisons(tables)
    if found:
        return found
    judges = sorted({table.section.scope.judge for table in tables})
    if len(judges) < 2:
        named = f"by {judges[0]} alone" if judges else "by no judge: there is no finished cell"
        raise DataError(
            f"Nothing to compare: these records were judged {named}. Have another judge rate the run as well "
            "(`harness run OTHER_SPEC --from RUN`), and give both."
        )
    raise DataError(
        f"Nothing to compare: no search was judged by two of {', '.join(judges)}. Give a run and the one that was made "
        "of it with `harness run OTHER_SPEC --from RUN`; both must be of the same tasks, data, threats and attacks."
    )


def _key(row: Standing) -> tuple[str, str, str, int | None]:
    return row.family, row.victim, row.defense, row.round


def _searches(row: Standing) -> frozenset[tuple[str, int, str]]:
    """What the row's cells searched, whoever judged them."""
    records = [cell.record for cell in row.cells]
    return frozenset((record.attack.label, record.seed, record.search) for record in records)


def _compared(tables: Sequence[Standings]) -> JudgeComparison | None:
    judges = _names(tables)
    by_judge = [{_key(row): row for row in table.rows} for table in tables]
    label_of = {key: row.label for rows in by_judge for key, row in rows.items()}
    shared = [key for key in by_judge[0] if all(key in rows for rows in by_judge)]
    alike = [key for key in shared if len({_searches(rows[key]) for rows in by_judge}) == 1]
    if not alike:
        return None
    apart = [(label_of[key], "not judged by all") for key in label_of if key not in shared]
    apart += [(label_of[key], "its attacks were run again, or are different") for key in shared if key not in alike]
    orders = [_Order.of(table, [rows[key] for key in alike]) for table, rows in zip(tables, by_judge, strict=True)]
    of_row = [(label_of[key], tuple(order.judged(index) for order in orders)) for index, key in enumerate(alike)]
    names = [label_of[key] for key in alike]
    pairs = tuple(
        _pair(names, (judges[a], orders[a]), (judges[b], orders[b])) for a, b in combinations(range(len(tables)), 2)
    )
    scope = tables[0].section.scope
    return JudgeComparison(
        scope.task, scope.threat, tables[0].target, tuple(judges), tuple(of_row), pairs, tuple(sorted(apart))
    )


def _names(tables: Sequence[Standings]) -> list[str]:
    """Labels of the judges; with spec and version where one judge has several tables."""
    labels = [table.section.scope.judge for table in tables]
    scopes = [table.section.scope for table in tables]
    return [
        label if labels.count(label) == 1 else f"{label} ({scope.spec_name} {scope.spec_version} {scope.spec_hash[:6]})"
        for label, scope in zip(labels, scopes, strict=True)
    ]


@dataclass(frozen=True)
class _Order:
    """The rows under one judge, R of them.

    Attributes:
        usable: whether each may be compared with the others, [R].
        cost: in the unit of ranks, what each takes to break, infinite where it did not break, [R].
        asr: at full budget, [R].
        surely: whether row i is surely harder than row j, [R, R].
    """

    rows: Sequence[Standing]
    given: Sequence[Rank]
    usable: Booleans
    cost: Floats
    asr: Floats
    surely: Booleans

    @classmethod
    def of(cls, table: Standings, rows: Sequence[Standing]) -> _Order:
        divisors = rank_divisors(rows, table.rank_unit)
        usable = np.array([row.rank.comparable for row in rows], dtype=np.bool_)
        curves = [
            tuple(replace(curve, compute=curve.compute / divisor) for curve in row.ranked_by) if can else ()
            for row, divisor, can in zip(rows, divisors, usable, strict=True)
        ]
        told = [i for i, of_row in enumerate(curves) if of_row and min(len(c.trials) for c in of_row) >= MIN_SEEDS]
        surely: Booleans = np.zeros((len(rows), len(rows)), dtype=np.bool_)
        surely[np.ix_(told, told)] = surely_harder([curves[i] for i in told], table.target)
        given = [
            rank if can else row.rank for row, rank, can in zip(rows, ranks(curves, table.target), usable, strict=True)
        ]
        cost = [_cost(row, divisor) for row, divisor in zip(rows, divisors, strict=True)]
        asr = [0.0 if row.asr is None else row.asr.value for row in rows]
        return cls(rows, given, usable, np.array(cost), np.array(asr), surely)

    def judged(self, index: int) -> JudgedRow:
        return JudgedRow(self.given[index], self.rows[index].asr, self.rows[index].cost_to_break)

    def compare(self, one: int, other: int) -> int:
        """1 where ``one`` costs more to break, or where neither breaks has the lower ASR; −1 the other way; 0 tied."""
        reached = bool(np.isfinite(self.cost[[one, other]]).any())
        mine, its = (float(self.cost[at] if reached else -self.asr[at]) for at in (one, other))
        return int(mine > its) - int(mine < its)

    def positions(self, rows: Sequence[int]) -> list[int]:
        """Of each of some rows, how many of them are easier: equal where they are tied."""
        return [sum(self.compare(row, other) > 0 for other in rows) for row in rows]


def _cost(row: Standing, divisor: float) -> float:
    """What it takes to reach the target; infinite where that was not reached."""
    cost = None if row.cost_to_break is None else row.cost_to_break.compute
    return float("inf") if cost is None else cost / divisor


def _pair(names: Sequence[str], first: tuple[str, _Order], second: tuple[str, _Order]) -> JudgePair:
    (one, left), (other, right) = first, second
    both = np.flatnonzero(left.usable & right.usable).tolist()
    swaps: list[Swap] = []
    pairs = tied = 0
    for a, b in combinations(both, 2):
        pairs += 1
        by_left, by_right = left.compare(a, b), right.compare(a, b)
        tied += not (by_left and by_right)
        if by_left * by_right < 0:
            harder, easier = (a, b) if by_left > 0 else (b, a)
            certain = bool(left.surely[harder, easier] and right.surely[easier, harder])
            swaps.append(Swap(names[harder], names[easier], "certainly" if certain else "within intervals"))
    tau = None
    if len(both) > 1:
        from scipy.stats import kendalltau  # slow to import

        found = float(kendalltau(left.positions(both), right.positions(both), variant="b").statistic)
        tau = None if np.isnan(found) else found
    swaps.sort(key=lambda swap: swap.certainty)
    return JudgePair(one, other, tau, pairs, tied, tuple(swaps))
