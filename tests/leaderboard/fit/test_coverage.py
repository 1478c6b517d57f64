"""95% intervals hold the truth of simulated studies; the whole tables are those of tests/benchmarks/intervals."""

from __future__ import annotations

import pytest

from tests.benchmarks.intervals.__main__ import GROUPS, is_wrong, measure, written
from tests.benchmarks.intervals.designs import Figures

STUDIES = 150
SLOW = {"Size scaling": 60, "Forms": 60}  # as many studies of these


def least(studies: int) -> float:
    """Three binomial standard errors: a right interval fails once in some hundred runs of other studies than these."""
    return 0.95 - 3 * (0.95 * 0.05 / studies) ** 0.5


CASES = [
    ("Attack scaling", "1 seed × 100, ASR 0.8, differ by 0.24 and 0.4"),
    ("Attack scaling", "2 seeds × 32, ASR 0.8, differ by 0.24 and 0.4"),
    ("Attack scaling", "5 seeds × 100, ASR 0.8, differ by 0.24 and 0.49"),
    ("Attack scaling", "3 seeds × 100, ASR 0.55, differ by 0.24 and 0.4, saturates at 0.6"),
    ("Attack scaling", "3 seeds × 60, ASR 0.6, differ by 0.24 and 0.4, same examples"),
    ("Offense-defense", "2 seeds × 10, slope 0.8, differ by 0.15 and 0.15"),
    ("Offense-defense", "5 seeds × 10, slope 0.8, differ by 0.15 and 0.15, 50% never broken"),
    ("Efficiency", "2 seeds × 8 rounds × 100, differ by 0.56 and 0.3"),
    ("Efficiency", "5 seeds × 8 rounds × 100, differ by 0.56 and 0.3"),
    ("Size scaling", "10 sizes, 2 seeds each"),
    ("Forms", "saturating, 1 seed × 100, 24 steps, ASR 0.6"),
]


def figures(group: str, name: str, studies: int) -> Figures:
    (design,) = [design for design in GROUPS[group] if design.name == name]
    return measure(group, design, studies)


@pytest.mark.slow
@pytest.mark.parametrize(("group", "name"), CASES)
def test_intervals_hold_the_truth(group: str, name: str) -> None:
    studies = SLOW.get(group, STUDIES)
    found = figures(group, name, studies)
    assert found["refused"] <= 0.05 * studies
    for heading, figure in found.items():
        if heading.endswith("held") and not heading.startswith("ols"):
            assert figure >= least(studies), heading


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("Two versions", "1 seed × 100, one model, alike 0.7"),
        ("Two versions", "3 seeds × 100, one model, alike 0.6, versions by 0.3"),
        ("Two versions", "3 seeds × 100, log-odds differ by 0.56, alike 0.7"),
        ("Two versions", "3 seeds × 300, log-odds differ by 0.3, alike 0.7, 200 by number alone"),
        ("Cost ratio", "1 seed × 100, one model, alike 0.5"),
    ],
)
def test_paired_intervals_hold_the_truth(group: str, name: str) -> None:
    found = figures(group, name, 60)
    assert found["held on average"] >= least(STUDIES)  # of 7 or 3 kinds of studies, so many of each
    assert found["least held"] >= 0.95 - 4 * (0.95 * 0.05 / 60) ** 0.5


def test_no_two_designs_of_a_table_have_one_name() -> None:
    for designs in GROUPS.values():
        names = [design.name for design in designs]
        assert len(set(names)) == len(names)


def test_what_is_wrong_is_said_and_tables_are_written_in_their_places() -> None:
    rates, equals = GROUPS["ASR"][-1], GROUPS["Equal rows"][1]
    assert is_wrong(rates, {"held on average": 0.85}, 500)
    assert not is_wrong(rates, {"held on average": 0.94}, 500)
    assert not is_wrong(GROUPS["ASR"][0], {"held on average": 0.5}, 500)  # one seed
    assert is_wrong(GROUPS["Two versions"][0], {"held on average": 0.85}, 500), "of the one model that is asked for"
    assert is_wrong(equals, {"false order": 0.16}, 500)
    assert not is_wrong(equals, {"false order": 0.05}, 500)
    text = "a\n<!-- ASR: begin -->\nold\n<!-- ASR: end -->\nb"
    assert written(text, "ASR", ["| new |"]) == "a\n<!-- ASR: begin -->\n\n| new |\n\n<!-- ASR: end -->\nb"
