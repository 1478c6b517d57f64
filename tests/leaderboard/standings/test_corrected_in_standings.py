"""ASR without the judge's errors in the standings: where a calibration is recorded, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.records.read import read_run
from leaderboard.fit.corrected.of_run import corrected_asr_of_run
from leaderboard.site.build import build_site
from leaderboard.site.texts.judge_text import corrected_text, corrects_asr
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.fit.test_corrected_asr import CALIBRATION, text_cell
from tests.leaderboard.run_command import run_command

NAMED = {"judge_calibration": CALIBRATION}


def cells(more: dict[str, Any], **changes: Any) -> list[FakeCell]:
    return [text_cell(seed=seed, more=more, **changes) for seed in (0, 1)]


def row_of(run: Path) -> Standing:
    ((row,),) = [table.rows for table in standings([read_run(run)])]
    return row


def test_it_stands_beside_the_raw_one_and_is_that_of_the_fit(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", cells(NAMED) + cells(NAMED, attack="weak", first_success=[0] * 40))
    row = row_of(run)
    (fitted,) = [each for each in corrected_asr_of_run(read_run(run)) if each.group["attack"] == "gcg"]
    assert row.corrected == fitted, "of the strongest attack"
    assert fitted.seen is not None
    assert fitted.corrected is not None
    assert (fitted.seen.value, fitted.corrected.value) == (0.3, pytest.approx(1 / 7))
    main, fine = corrected_text(row)
    assert main == "14.3%"
    assert "as judged 30.0% of 80 last strings\ngcg" in fine
    assert row.asr is not None
    assert row.asr.value == 0.3


def test_without_a_calibration_there_is_no_such_number(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", cells({}))
    (table,) = standings([read_run(run)])
    assert table.rows[0].corrected is None
    assert not corrects_asr(table)
    assert "judge's errors" not in run_command("leaderboard", "show", run)
    (section,) = json.loads(run_command("leaderboard", "show", run, "--json"))
    assert section["rows"][0]["corrected"] is None


@pytest.mark.parametrize(
    ("more", "changes", "words"),
    [
        (NAMED, {"stop_on_success": True}, "searches stopped at the first success"),
        (NAMED, {"first_success": [3] * 6 + [0] * 34}, "the estimate is beyond 0.0% and is cut off there"),
        ({"judge_calibration": {"format": 1}}, {}, "what its record names as calibration is not one"),
        (
            {"judge_calibration": CALIBRATION | {"judge": CALIBRATION["judge"] | {"name": "x", "label": "x"}}},
            {},
            "its calibration is of the judge x",
        ),
        (
            {"judge_calibration": CALIBRATION | {"true_positive": 0, "false_negative": 0}},
            {},
            "its calibration has no answers that are successes for people",
        ),
    ],
)
def test_what_cannot_be_corrected_or_is_cut_is_said(tmp_path: Path, more: Any, changes: Any, words: str) -> None:
    row = row_of(write_run(tmp_path / "run", cells(more, **changes)))
    main, fine = corrected_text(row)
    assert words in fine
    assert main == ("0.0%" if "cut" in words else "–")


@pytest.mark.parametrize(
    "other", [{}, {"judge_calibration": CALIBRATION | {"true_positive": 80, "false_negative": 20}}]
)
def test_cells_that_name_different_calibrations_are_not_mixed(tmp_path: Path, other: dict[str, Any]) -> None:
    run = write_run(tmp_path / "run", [text_cell(seed=0, more=NAMED), text_cell(seed=1, more=other)])
    assert "its cells name different calibrations of the judge, or not all name one" in corrected_text(row_of(run))[1]


@pytest.mark.slow
def test_page_and_downloads_have_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", cells(NAMED))
    build_site([read_run(run)], tmp_path / "site")
    (section,) = json.loads((tmp_path / "site" / "data.json").read_text())["sections"]
    found = section["rows"][0]["corrected"]
    assert (found["attack"], found["clipped"], found["note"]) == ("gcg", False, "")
    assert found["low"] < found["value"] == 0.1428571 < found["high"]
    page = (tmp_path / "site" / "index.html").read_text()
    assert "ASR without the judge’s errors" in page
    assert "as judged 30.0% of 80 last strings" in page
