"""Attack scaling: how the odds of success grow with attack compute."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from leaderboard.line import Line, ols
from leaderboard.table import IDENTITY, Table
from leaderboard.words import UNKNOWN_COMPUTE


@dataclass(frozen=True)
class AttackScaling:
    """log10(ASR / (1 − ASR)) = intercept + slope · log10(attack compute / reference compute), for one group of curves.

    Attributes:
        group: what the curves have in common: task, family, attack, n_params, and what else the table tells (victim,
            threat, defense, round).
        line: slope in decades of odds per decade of compute; n counts points (seeds × iterations) used.
        dropped: points left out because ASR or compute was 0, ASR 1, or compute unknown.
        seeds: how many seeds the group has.
    """

    group: dict[str, Any]
    line: Line
    dropped: int
    seeds: int

    def to_json(self) -> dict[str, Any]:
        """JSON data, flat."""
        return self.group | self.line.to_json() | {"n_dropped": self.dropped, "n_seeds": self.seeds, "method": "ols"}


def fit_attack_scaling(table: Table) -> list[AttackScaling]:
    """One fit per (task, family, attack, n_params) and, where the table has them, victim, threat, defense and round.

    Method of "Scaling Trends in Language Model Robustness" (arXiv 2407.18213): ordinary least squares over seeds ×
    iterations; points at ASR 0 or 1, and at no compute or unknown compute, are dropped; the first two bias curves that
    saturate. The interval
    takes all points as independent: it ignores that iterations of one seed follow the same examples, that seeds
    differ, and that a rate from few trials is noisier, so it is too narrow.
    """
    return [_fit(group, rows) for group, rows in table.groups(table.keys(*IDENTITY, "round"))]


def _fit(group: dict[str, Any], rows: Table) -> AttackScaling:
    won, tried, compute = rows["successes"], rows["trials"], rows["attack_compute"]
    use = (won > 0) & (won < tried) & (compute > 0)
    line = ols(np.log10(compute[use]), np.log10(won[use] / (tried[use] - won[use])))
    if np.isnan(compute).all():
        line = replace(line, note=f"{UNKNOWN_COMPUTE}: nothing to fit.")
    elif line.slope is None and not use.all():
        line = replace(line, note=f"{line.note} {_why(won, tried, compute)}")
    return AttackScaling(group, line, int((~use).sum()), len(np.unique(rows["seed"])))


def _why(won: Any, tried: Any, compute: Any) -> str:
    none, every, unspent = int((won == 0).sum()), int((won == tried).sum()), int((compute == 0).sum())
    unknown = int(np.isnan(compute).sum())
    more = f", {unknown} at unknown compute" if unknown else ""
    return f"Of {len(won)} points {none} are at ASR 0, {every} at ASR 1, {unspent} at no compute{more}."
