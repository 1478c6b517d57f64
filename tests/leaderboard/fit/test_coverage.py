"""95% intervals hold the truth of simulated studies; the whole table is that of tests/benchmarks/intervals."""

from __future__ import annotations

import pytest

from tests.benchmarks.intervals.__main__ import GROUPS, measure

STUDIES = 150
# Three binomial standard errors: a right interval fails once in some hundred runs of other studies than these.
LEAST = 0.95 - 3 * (0.95 * 0.05 / STUDIES) ** 0.5
CASES = [
    ("Attack scaling", "1 seed"),
    ("Attack scaling", "5 seeds"),
    ("Attack scaling", "3 seeds, saturate"),
    ("Attack scaling", "3 seeds, same examples, records"),
    ("Offense-defense", "5 seeds, 10 rounds, half never broken"),
    ("Efficiency", "3 seeds, 8 rounds"),
    ("Size scaling", "10 sizes"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("group", "name"), CASES)
def test_intervals_hold_the_truth(group: str, name: str) -> None:
    at = [design.name for design in GROUPS[group][1]].index(name)
    tally = measure(group, at, STUDIES)
    assert tally.refused <= 0.05 * STUDIES
    assert tally.coverage("slope") >= LEAST
    assert abs(tally.bias("slope")) < 0.06
    if group == "Attack scaling":
        assert tally.coverage("intercept") >= LEAST
        assert tally.coverage("ASR") >= LEAST
        assert tally.coverage("ols") < LEAST  # what the study's method claims, and does not hold
