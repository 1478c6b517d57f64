"""ASR corrected for a judge's errors: the estimate, its interval, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError
from harness.records.read import read_run
from leaderboard.fit.corrected.of_run import corrected_asr_of_run, last_verdicts
from leaderboard.fit.corrected.rate import Corrected, corrected_rate
from leaderboard.fit.pooled_rates import pooled_rate
from tests.benchmarks.intervals.__main__ import measure
from tests.benchmarks.intervals.corrected import calibration_of
from tests.leaderboard.fake_run import FakeCell, write_run


def test_estimate_is_that_of_rogan_and_gladen() -> None:
    seen = pooled_rate([40], [100])
    assert seen is not None
    found = corrected_rate(seen, calibration_of(90, 100, 80, 100))
    assert isinstance(found, Corrected)
    assert found.value == pytest.approx((0.4 + 0.8 - 1) / (0.9 + 0.8 - 1))
    assert found.low < found.value < found.high
    wide = corrected_rate(seen, calibration_of(9, 10, 8, 10))
    sure = corrected_rate(seen, calibration_of(90_000, 100_000, 80_000, 100_000))
    assert isinstance(wide, Corrected)
    assert isinstance(sure, Corrected)
    widths = [one.high - one.low for one in (wide, found, sure)]
    assert widths == sorted(widths, reverse=True), "the less is known of the judge, the wider"


def test_a_judge_without_errors_changes_little() -> None:
    for broken in (0, 7, 50, 100):
        seen = pooled_rate([broken], [100])
        assert seen is not None
        found = corrected_rate(seen, calibration_of(10_000, 10_000, 10_000, 10_000))
        assert isinstance(found, Corrected)
        assert found.value == pytest.approx(seen.value)
        assert (found.low, found.high) == pytest.approx((seen.low, seen.high), abs=0.015)


def test_rates_stay_within_bounds_and_chance_is_refused() -> None:
    few, none, every = (pooled_rate([broken], [100]) for broken in (14, 1, 100))
    assert few is not None
    assert none is not None
    assert every is not None
    found = corrected_rate(few, calibration_of(90, 100, 80, 100))
    assert isinstance(found, Corrected)
    assert (found.value, found.low) == (0.0, 0.0)
    assert 0 < found.high < 0.15
    assert "exceed 1 by less than 0.1" in str(corrected_rate(few, calibration_of(52, 100, 52, 100)))
    assert "fewer successes than its false alarms alone" in str(corrected_rate(none, calibration_of(90, 100, 80, 100)))
    assert "more successes than its hits alone" in str(corrected_rate(every, calibration_of(60, 100, 80, 100)))


def test_seeds_that_differ_widen_the_interval() -> None:
    judge = calibration_of(90, 100, 80, 100)
    alike, different = pooled_rate([40, 40, 40], [100] * 3), pooled_rate([20, 40, 60], [100] * 3)
    assert alike is not None
    assert different is not None
    one, other = corrected_rate(alike, judge), corrected_rate(different, judge)
    assert isinstance(one, Corrected)
    assert isinstance(other, Corrected)
    assert one.value == other.value
    assert other.high - other.low > 1.3 * (one.high - one.low)


def test_intervals_hold_the_truth() -> None:
    from tests.benchmarks.intervals.corrected import CORRECTED

    (design,) = [one for one in CORRECTED if one.name == "0.9 and 0.9, 110 + 190 labelled, 1 seed × 100"]
    found = measure("Corrected ASR", design, 150)
    assert 0.93 <= found["held on average"] <= 0.975
    assert found["as judged: held on average"] < 0.6


CALIBRATION = calibration_of(90, 100, 80, 100).model_dump(mode="json")
CALIBRATION["judge"] = {"name": "rated", "label": "rated", "params": {}, "distribution": "d", "version": "1"}


def text_cell(**changes) -> FakeCell:
    successes = [3] * 12 + [0] * 28
    return FakeCell(**{"task_kind": "text", "judge": "rated", "first_success": successes, "steps": 4} | changes)


@pytest.mark.parametrize("named", [True, False])
def test_rows_of_a_run(tmp_path: Path, named: bool) -> None:
    more = {"judge_calibration": CALIBRATION} if named else {}
    run = write_run(tmp_path / "run", [text_cell(seed=seed, more=more) for seed in (0, 1)])
    file = tmp_path / "kept.json"
    file.write_text(json.dumps(CALIBRATION))
    (row,) = corrected_asr_of_run(read_run(run), None if named else file)
    assert row.seen is not None
    assert row.corrected is not None
    shares = [np.mean(list(last_verdicts(cell).values())) for cell in read_run(run)]
    assert row.seen.value == pytest.approx(np.mean(shares))
    assert row.corrected.value == pytest.approx(max(0.0, (row.seen.value - 0.2) / 0.7))
    assert row.to_json()["corrected"]["value"] == row.corrected.value


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task_kind": "labels"}, "answers are labels"),
        ({"benign": True}, "prompts are benign"),
        ({"stop_on_success": True}, "searches stopped at the first success"),
        ({"text": ""}, "nothing was attacked"),
    ],
)
def test_verdicts_that_are_not_of_one_answer_are_refused(tmp_path: Path, changes, words: str) -> None:
    run = write_run(tmp_path / "run", [text_cell(more={"judge_calibration": CALIBRATION}, **changes)])
    (row,) = corrected_asr_of_run(read_run(run))
    assert row.corrected is None
    assert words in row.note


def test_another_judge_or_none_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [text_cell()])
    with pytest.raises(DataError, match=r"names no calibration\. Give --calibration FILE"):
        corrected_asr_of_run(read_run(run))
    file = tmp_path / "kept.json"
    file.write_text(json.dumps(CALIBRATION | {"judge": CALIBRATION["judge"] | {"name": "other", "label": "other"}}))
    with pytest.raises(DataError, match=r"kept\.json: is of the judge other, and the run was judged by rated"):
        corrected_asr_of_run(read_run(run), file)
