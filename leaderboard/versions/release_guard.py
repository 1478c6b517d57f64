"""Whether a new version may be released: is it shown to be no worse than the old one by more than a margin?"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

from leaderboard.fit.seed_spread import UPPER
from leaderboard.versions.comparison import Comparison, Measure

Verdict = Literal["not worse", "worse", "cannot be told"]
MOST_TIMES = 1e6


@dataclass(frozen=True)
class Judged:
    """One measure against the margin.

    Attributes:
        place: which of the comparison's `Compared` it is of.
        verdict: ``not worse``: the interval lies below the margin; ``worse``: above it, for certain; else
            ``cannot be told``.
        pairs_needed: about how many pairs would show that it is not worse if these are like them; None where it is
            shown, or no number would do.
    """

    place: int
    measure: Measure
    verdict: Verdict
    pairs_needed: int | None


@dataclass(frozen=True)
class Guarded:
    """All measures against the margin, and the cells of the old run that the new one has no partner for."""

    margin: float
    judged: tuple[Judged, ...]
    lacking: int

    def count(self, verdict: Verdict) -> int:
        """How many measures have this verdict."""
        return sum(one.verdict == verdict for one in self.judged)

    def fails(self, undecided: Literal["fail", "pass"]) -> bool:
        """Whether the new version is to be stopped; ``undecided``: what becomes of what cannot be told."""
        open_ = self.count("cannot be told") + self.lacking
        return bool(self.count("worse") or (open_ and undecided == "fail"))


def guard(comparison: Comparison, margin: float) -> Guarded:
    """Each measure of a comparison against the margin (a share: 0.05 is five points).

    Not worse is shown measure by measure at 97.5%: to pass, all must be shown, so that a version that is worse in any
    one by more than the margin passes in at most 2.5% of cases, however many measures there are. That one is worse is
    said with the errors of all measures shared (Bonferroni). Pairs without a verdict may have been lost by either
    version: they are counted as all of them gained, or lost.
    """
    measures = [
        (place, measure, compared.same)
        for place, compared in enumerate(comparison.compared)
        for measure in compared.measures
    ]
    judged = tuple(_judged(place, measure, same, margin, len(measures)) for place, measure, same in measures)
    return Guarded(margin, judged, len(comparison.only_old))


def _judged(place: int, measure: Measure, same: bool, margin: float, measures: int) -> Judged:
    found = measure.difference
    if same:
        return Judged(place, measure, "not worse", None)
    if found is None:
        return Judged(place, measure, "cannot be told", None)
    strict = measure.bounds(level=1 - (1 - UPPER) / measures)
    assert strict is not None
    if _with_untold(found.high, found.pairs, measure.untold) <= margin:
        return Judged(place, measure, "not worse", None)
    if _with_untold(strict.low, found.pairs, -measure.untold) > margin:
        return Judged(place, measure, "worse", None)
    return Judged(place, measure, "cannot be told", _pairs_needed(measure, found.pairs, margin))


def _with_untold(end: float, pairs: int, untold: int) -> float:
    """An end of the interval where each pair without a verdict has moved it as far as it can."""
    return (end * pairs + untold) / (pairs + abs(untold))


def _pairs_needed(measure: Measure, pairs: int, margin: float) -> int | None:
    def high(times: float) -> float:
        found = measure.bounds(times=times)
        assert found is not None
        return _with_untold(found.high, pairs, measure.untold)

    if high(MOST_TIMES) > margin:
        return None
    low, enough = 0.0, 20.0  # powers of 2
    while enough - low > 1e-4:
        middle = (low + enough) / 2
        low, enough = (low, middle) if high(2**middle) <= margin else (middle, enough)
    return ceil(pairs * 2**enough)
