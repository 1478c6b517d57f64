"""A finding of the study as given runs show it: figures with intervals, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from leaderboard.fit.line import Line
from leaderboard.fit.pooled_rates import Rate
from leaderboard.standings.json_numbers import rounded
from leaderboard.study.published import FindingName

Verdict = Literal["holds here", "does not", "cannot be told at this size"]
HOLDS: Verdict = "holds here"
DOES_NOT: Verdict = "does not"
UNTOLD: Verdict = "cannot be told at this size"
VERDICTS = (HOLDS, DOES_NOT, UNTOLD)
Unit = Literal["ASR", "slope", "rounds", "FLOPs", "points"]

CLAIMS: dict[FindingName, str] = {
    "undefended": "Undefended, larger victims are not reliably harder to break",
    "attack_compute": "Attack success rises smoothly with attack compute",
    "rounds": "In adversarial training larger victims need fewer rounds but more compute",
    "offense_defense": "Compute to break grows more slowly than compute to defend: slopes below 1",
    "transfer": "Training against a suffix carries over to infix, and not to prefix",
}
"""In the study's order."""


@dataclass(frozen=True)
class Figure:
    """A number with its 95% interval.

    Attributes:
        of: what it is of, such as a size.
        value: None where there is none; an end is None where the interval has none on that side.
        note: what the reader should know, or "".
    """

    of: str
    unit: Unit
    value: float | None
    low: float | None
    high: float | None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "of": self.of,
            "unit": self.unit,
            "value": rounded(self.value),
            "low": rounded(self.low),
            "high": rounded(self.high),
            "note": self.note,
        }


def rate_figure(of: str, rate: Rate) -> Figure:
    """An ASR."""
    return Figure(of, "ASR", rate.value, rate.low, rate.high)


def slope_figure(of: str, line: Line, note: str = "") -> Figure:
    """The slope of a fitted line."""
    low, high = line.slope_ci or (None, None)
    return Figure(of, "slope", line.slope, low, high, " ".join(filter(None, (note, line.note))))


def cost_figure(of: str, unit: Unit, cost: tuple[float, float, float], budget: float) -> Figure:
    """An amount at which something is reached, with its interval; each is infinite where there is none."""
    value, low, high = (amount if isfinite(amount) else None for amount in cost)
    limit = f"{budget:g} rounds" if unit == "rounds" else f"{budget:.2g} FLOPs"
    return Figure(of, unit, value, low, high, "" if value is not None else f"not within {limit}")


@dataclass(frozen=True)
class Row:
    """What one task, attack and threat model say of a finding.

    Attributes:
        where: task, attack and whatever else it is of.
        spec: name and version.
        why: what the verdict rests on, in words.
        notes: what was left out.
    """

    where: str
    spec: str
    figures: tuple[Figure, ...]
    verdict: Verdict
    why: str
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "where": self.where,
            "spec": self.spec,
            "verdict": self.verdict,
            "why": self.why,
            "figures": [figure.to_json() for figure in self.figures],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Finding:
    """One of the study's findings.

    Attributes:
        rows: one for each part of the runs that can say something; empty where ``missing`` says what they lack.
    """

    name: FindingName
    rows: tuple[Row, ...]
    missing: str = ""

    @property
    def number(self) -> int:
        """From 1, as in the study."""
        return 1 + list(CLAIMS).index(self.name)

    @property
    def claim(self) -> str:
        """In a sentence."""
        return CLAIMS[self.name]

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many rows have each verdict."""
        return {verdict: sum(row.verdict == verdict for row in self.rows) for verdict in VERDICTS}


def made_finding(name: FindingName, rows: Sequence[Row], lacking: str) -> Finding:
    """With its rows, or with what is lacking where there are none."""
    return Finding(name, tuple(rows), "" if rows else f"not in these runs: {lacking}")


def by_majority(yes: int, no: int, of: int) -> Verdict:
    """Holds where more than half are surely so and none is surely not so; the other way round it does not."""
    if 2 * yes > of and not no:
        return HOLDS
    return DOES_NOT if 2 * no > of and not yes else UNTOLD
