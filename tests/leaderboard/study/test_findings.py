"""Each verdict in each direction, on ladders whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from math import log10
from pathlib import Path

import pytest

from leaderboard.study.finding import DOES_NOT, HOLDS, UNTOLD, Verdict
from tests.leaderboard.fake_run import FakeCell
from tests.leaderboard.study.ladders import AGAINST, SIZES, cells, found, only_row, rounds_of


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (cells(examples=150), HOLDS),  # size does nothing
        (cells(shift=-0.4), HOLDS),  # larger ones are easier to break
        (cells(shift=0.4), DOES_NOT),  # and harder
        (cells(examples=12, seeds=2), UNTOLD),
        (cells(seeds=1, shift=0.4), UNTOLD),
    ],
)
def test_undefended_against_size(made: list[FakeCell], verdict: Verdict, tmp_path: Path) -> None:
    row = only_row(found(tmp_path, made)["undefended"])
    assert row.verdict == verdict, row


def test_one_larger_size_that_is_easier_is_enough(tmp_path: Path) -> None:
    """As in the study: odds fall over the whole ladder, and not from size to size."""
    small, middle, large = (cells(sizes=[size]) for size in SIZES)
    harder = [replace(cell, hardness=cell.hardness + 0.3) for cell in small]
    hardest = [replace(cell, hardness=cell.hardness + 1.0) for cell in large]
    row = only_row(found(tmp_path, harder, middle, hardest)["undefended"])
    slope = row.figures[0]
    assert (row.verdict, slope.high is not None and slope.high < 0) == (HOLDS, True)
    assert "surely easier to break in 1, and harder in 2" in row.why


def test_compute_is_equal_where_searches_stop_at_success(tmp_path: Path) -> None:
    """A victim that is soon broken spends little; the others are not held to that little."""
    easy, hard = cells(sizes=[SIZES[0]], hardness=1.0), cells(sizes=[SIZES[1]])
    row = only_row(found(tmp_path, easy, hard)["undefended"])
    assert [round(figure.value or 0, 1) for figure in row.figures[1:]] == [1.0, 0.9]
    assert "within 1.0 × 10⁻⁴× the reference" in row.why  # all ten steps


@pytest.mark.parametrize(
    ("slope", "examples", "seeds", "verdict"),
    [(2.0, 80, 4, HOLDS), (0.5, 150, 4, DOES_NOT), (2.0, 10, 2, UNTOLD), (2.0, 150, 1, UNTOLD), (3.0, 60, 4, UNTOLD)],
)
def test_slopes_of_attack_compute(slope: float, examples: int, seeds: int, verdict: Verdict, tmp_path: Path) -> None:
    row = only_row(found(tmp_path, cells(slope=slope, examples=examples, seeds=seeds))["attack_compute"])
    assert row.verdict == verdict, row
    assert len(row.figures) == len(SIZES)


SLOW_LEARNER, QUICK_LEARNER = (0.9, 0.7, 0.5, 0.3, 0.15, 0.02), (0.5, 0.02, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("small", "large", "seeds", "verdict"),
    [
        (SLOW_LEARNER, QUICK_LEARNER, 4, HOLDS),
        (QUICK_LEARNER, SLOW_LEARNER, 4, DOES_NOT),
        (SLOW_LEARNER, SLOW_LEARNER, 4, UNTOLD),
        (SLOW_LEARNER, QUICK_LEARNER, 1, UNTOLD),
    ],
)
def test_rounds_and_compute_to_a_tenth(
    small: tuple[float, ...], large: tuple[float, ...], seeds: int, verdict: Verdict, tmp_path: Path
) -> None:
    row = only_row(found(tmp_path, rounds_of({SIZES[0]: small, SIZES[1]: large}, seeds=seeds))["rounds"])
    assert row.verdict == verdict, row


def test_rounds_count_from_the_undefended_victim_and_may_not_suffice(tmp_path: Path) -> None:
    before = [replace(cell, round=None, against=None, defense="none") for cell in rounds_of({SIZES[0]: [0.5]})]
    trained = rounds_of({SIZES[0]: (0.0, 0.0), SIZES[1]: (0.9, 0.8)})
    row = only_row(found(tmp_path, before, trained)["rounds"])
    small, large = row.figures[:2]
    assert small.value == pytest.approx(0.8)  # from half to none in a round; to a tenth in four fifths of it
    assert (large.value, large.note) == (None, "not within 2 rounds")
    assert large.low is not None or large.high is None


def test_settings_that_differ_by_size_are_one_ladder_and_two_of_one_victim_are_two(tmp_path: Path) -> None:
    small = rounds_of({SIZES[0]: SLOW_LEARNER})
    large = [replace(cell, defense="adversarial_training(rounds=4)") for cell in rounds_of({SIZES[1]: QUICK_LEARNER})]
    assert only_row(found(tmp_path / "a", small, large)["rounds"]).verdict == HOLDS
    again = [replace(cell, defense="adversarial_training(rounds=4)") for cell in small]
    both = found(tmp_path / "b", small, again, rounds_of({SIZES[1]: QUICK_LEARNER}))
    assert len(both["rounds"].rows) == 1  # the other setting has one size
    assert len(both["offense_defense"].rows) == 2


def broken_at(power: float, *, scatter: float = 0.0, seeds: int = 4) -> list[FakeCell]:
    """A victim whose cost to break is as its defense compute to this power."""
    return [
        replace(
            cell,
            steps=40,
            first_success=None,
            step_flops=10**8.7,
            reference_flops=1e14,
            hardness=9.4 + power * log10(number) + scatter * (-1) ** (at + cell.seed),
            slope=3.0,
        )
        for at, number in enumerate((1, 2, 3, 5, 8))
        for cell in rounds_of({SIZES[0]: [0.5] * number}, seeds=seeds, examples=50)
        if cell.round == number
    ]


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (broken_at(0.4), HOLDS),
        (broken_at(1.6), DOES_NOT),
        (broken_at(1.0, scatter=0.3), UNTOLD),
        (broken_at(0.4, seeds=1), UNTOLD),
    ],
)
def test_offense_defense_slopes(made: list[FakeCell], verdict: Verdict, tmp_path: Path) -> None:
    row = only_row(found(tmp_path, made, target=0.2)["offense_defense"])
    assert row.verdict == verdict, row


def places(suffix: int, infix: int, prefix: int, *, before: int | None = 45, seeds: int = 4) -> list[FakeCell]:
    """Of fifty examples so many are broken in each place, after round 2; and before, with a suffix."""
    made = []
    for seed in range(seeds):
        for position, broken in (("suffix", suffix), ("infix", infix), ("prefix", prefix)):
            cell = FakeCell(
                victim="tiny(size=20000)",
                n_params=SIZES[0],
                defense="adversarial_training",
                round=2,
                defense_flops=1e12,
                against=AGAINST,
                threat=f"{position}, 10 tokens, gradient",
                seed=seed,
                examples=50,
                steps=2,
                first_success=[int(at < broken) for at in range(50)],
            )
            made.append(cell)
        if before is not None:
            fell = [int(at < before) for at in range(50)]
            made.append(replace(made[-3], defense="none", round=None, against=None, first_success=fell))
    return made


@pytest.mark.parametrize(
    ("made", "verdict", "why"),
    [
        (places(2, 3, 35), HOLDS, "infix surely less than 20 points above suffix, prefix surely more"),
        (places(2, 35, 40), DOES_NOT, "infix surely more"),
        (places(2, 3, 4), DOES_NOT, "prefix surely less"),
        (places(2, 3, 13), UNTOLD, "prefix not told from"),
        (places(45, 45, 48), UNTOLD, "training did not surely help"),
        (places(2, 3, 35, before=None), UNTOLD, "not in these runs: the undefended victim"),
        (places(2, 3, 35, seeds=1), UNTOLD, "one seed"),
    ],
)
def test_transfer_to_other_places(made: list[FakeCell], verdict: Verdict, why: str, tmp_path: Path) -> None:
    row = only_row(found(tmp_path, made)["transfer"])
    assert (row.verdict, why in row.why) == (verdict, True), row


def test_what_runs_lack_is_named(tmp_path: Path) -> None:
    of_one_size = found(tmp_path / "a", cells(sizes=[SIZES[0]], seeds=2))
    missing = {name: finding.missing for name, finding in of_one_size.items()}
    assert missing.pop("attack_compute") == ""
    assert all(text.startswith("not in these runs: ") for text in missing.values())
    suffix_alone = found(tmp_path / "b", rounds_of({SIZES[0]: [0.5, 0.2]}))
    assert suffix_alone["transfer"].missing == "not in these runs: prefix and infix attacks on trained checkpoints"


def test_victims_that_have_not_learnt_the_task_are_left_out(tmp_path: Path) -> None:
    unlearnt = [replace(cell, wrong=60) for cell in cells(sizes=[SIZES[0]])]
    row = only_row(found(tmp_path, unlearnt, cells(sizes=SIZES[1:], shift=-0.4))["undefended"])
    assert len(row.figures) == 3  # the slope, and two sizes
    assert row.notes == ("left out: tiny(size=20000), clean 50.0%, below 90.0%",)


def test_two_victims_of_one_size_make_no_ladder(tmp_path: Path) -> None:
    twins = [replace(cell, victim=f"{cell.victim} plain") for cell in cells(sizes=[SIZES[0]])]
    row = only_row(found(tmp_path, twins, cells())["undefended"])
    assert (row.verdict, "are of one size" in row.why) == (UNTOLD, True)
