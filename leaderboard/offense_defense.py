"""Offense against defense: what it costs to break a victim, against what was spent on defending it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.errors import DataError
from leaderboard.crossing import first_reach
from leaderboard.line import Line, ols
from leaderboard.table import IDENTITY, Table
from leaderboard.words import UNKNOWN_COMPUTE


@dataclass(frozen=True)
class OffenseDefense:
    """log10(compute to reach the target ASR) = intercept + slope · log10(defense compute).

    Both are fractions of the reference compute. Slope 1 is a stalemate; below 1 the attacker gains.

    Attributes:
        group: what the curves have in common: task, family, attack, n_params, and what else the table tells (victim,
            threat, defense).
        target: the attack success rate that counts as broken.
        line: n counts (seed, round) pairs used.
        censored: pairs that never reached the target within the attack's budget; left out by this method, which
            flatters the attacker.
        dropped: pairs that cannot stand on log axes: no defense compute, broken at no compute, or compute unknown.
    """

    group: dict[str, Any]
    target: float
    line: Line
    censored: int
    dropped: int

    def to_json(self) -> dict[str, Any]:
        """JSON data, flat."""
        counts = {"n_censored": self.censored, "n_dropped": self.dropped, "method": "ols"}
        return self.group | {"target_asr": self.target} | self.line.to_json() | counts


def fit_offense_defense(table: Table, target: float) -> list[OffenseDefense]:
    """One fit per (task, family, attack, n_params) and, where the table has them, victim, threat and defense.

    Method of "Scaling Trends in Language Model Robustness" (arXiv 2407.18213): for each (seed, round) the compute at
    which ASR first reaches ``target``, by linear interpolation in compute between iterations; then ordinary least
    squares on log10 of both. Rounds of one seed share a training history, and censored pairs are left out; the
    interval knows of neither. Groups without any defense compute have no such curve and are left out.

    Raises:
        DataError: the table has no round or defense_compute, or no defense compute above 0.
    """
    if not 0 < target <= 1:
        raise DataError(f"target ASR {target} is not above 0 and at most 1. Give a rate such as 0.02.")
    for name in ("round", "defense_compute"):
        if name not in table:
            raise DataError(f"{table.source}: column {name!r} is missing. An offense-defense fit needs it.")
    groups = list(table.groups(table.keys(*IDENTITY)))
    fits = [_fit(group, rows, target) for group, rows in groups if (rows["defense_compute"] != 0).any()]
    if not fits:
        raise DataError(
            f"{table.source}: no row with defense_compute above 0. Run the attack against a defense that costs compute."
        )
    return fits


def _fit(group: dict[str, Any], rows: Table, target: float) -> OffenseDefense:
    spent: list[float] = []
    needed: list[float] = []
    for _, curve in rows.groups(["seed", "round"]):
        order = np.argsort(curve["iteration"], kind="stable")
        asr = curve["successes"][order] / curve["trials"][order]
        needed.append(float(first_reach(curve["attack_compute"][order], asr, target)))
        spent.append(_one_cost(curve))
    x, y = np.array(spent), np.array(needed)
    reached = ~np.isinf(y)  # NaN: reached, at an unknown compute
    use = reached & (x > 0) & (y > 0)
    line = ols(np.log10(x[use]), np.log10(y[use]))
    censored, dropped = int((~reached).sum()), int((reached & ~use).sum())
    if line.slope is None and (censored or dropped):
        note = f"{UNKNOWN_COMPUTE}: nothing to fit." if np.isnan(x + y)[reached].all() and dropped else line.note
        line = replace(line, note=f"{note} {censored} of {len(y)} never reached ASR {target:g}.")
    return OffenseDefense(group, target, line, censored, dropped)


def _one_cost(curve: Table) -> float:
    costs = np.unique(curve["defense_compute"])
    if len(costs) > 1:
        seed, number = curve["seed"][0], curve["round"][0]
        raise DataError(
            f"{curve.source}: seed {seed}, round {number} has {len(costs)} values of defense_compute. "
            "Give each (seed, round) one value."
        )
    return float(costs[0])
