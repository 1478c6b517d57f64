"""``harness fit`` of a submission or an entry: what it prints of the run that was packed, and refuses likewise."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.main import get_command

from harness.cli import main
from harness.records.read import Run, is_run
from leaderboard.commands.fit import fit_app
from leaderboard.submission.leaderboard_entry import write_entry
from leaderboard.submission.leaderboard_sources import read_one
from leaderboard.submission.submission import open_submission

ENTRIES = Path(__file__).parents[3] / "leaderboard" / "entries"
EVERY = {
    "attack-scaling": [(), ("--form", "auto"), ("--method", "ols"), ("--asr", "at_step")],
    "offense-defense": [("--target-asr", "0.1")],
    "efficiency": [("--x", "inference_compute"), ("--x", "round", "--scale", "linear", "--at", "1")],
    "size-scaling": [(), ("--parameters", "non-embedding"), ("--of", "intercept", "--method", "ols")],
    "repeated-sampling": [("--asks", "50")],
    "corrected-asr": [()],
    "class-separation": [()],
}
CALLS = [(command, *options) for command, of_command in EVERY.items() for options in of_command]


def said(call: tuple[str, ...], path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, and what a fit of ``path`` prints, with a word for the path."""
    status = main(["fit", call[0], str(path), *call[1:], "--json"])
    printed = capsys.readouterr()
    return status, printed.out, printed.err.replace(str(path), "PATH")


def as_folder(run: Run, folder: Path) -> Path:
    """The run directory that an entry was made of, but for what is not submitted."""
    for cell in run:
        place = folder / "cells" / cell.record.key
        place.mkdir(parents=True)
        (place / "cell.json").write_text(cell.record.model_dump_json(), encoding="utf-8")
        pq.write_table(cell.examples(), place / "examples.parquet")
        pq.write_table(cell.steps(), place / "steps.parquet")
    (folder / "run.json").write_text(json.dumps(run.info), encoding="utf-8")
    assert is_run(folder)
    return folder


def test_every_command_is_tried() -> None:
    assert set(get_command(fit_app()).commands) == set(EVERY)


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_of_a_small_run(
    call: tuple[str, ...], packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = said(call, packed.parent / "run", capsys)
    assert expected[0] in (0, 2)
    assert said(call, packed, capsys) == expected
    assert said(call, write_entry(open_submission(packed), tmp_path), capsys) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("attacks-smollm2_classifier-1", [("attack-scaling",), ("attack-scaling", "--form", "logistic")]),
        ("questions-inference_compute-1", [("efficiency", "--x", "inference_compute")]),
        ("questions-complexity-2", [("size-scaling",), ("size-scaling", "--parameters", "non-embedding")]),
        ("defenses-pretraining-1", [("class-separation",)]),
    ],
)
def test_of_a_listed_entry(
    name: str, calls: list[tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (entry,) = ENTRIES.glob(f"{name}-*.json")
    run = as_folder(read_one(entry), tmp_path / "run")
    for call in calls:
        status, printed, errors = said(call, entry, capsys)
        assert (status, errors) == (0, "")
        assert json.loads(printed)
        assert said(call, run, capsys) == (status, printed, errors)


def test_what_is_no_entry_is_refused(packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_entry(open_submission(packed), tmp_path)
    path.with_suffix(".parquet").unlink()
    for call in (("attack-scaling",), ("class-separation",)):
        status, printed, errors = said(call, path, capsys)
        assert (status, printed) == (2, "")
        assert "missing; it is the table of the entry" in " ".join(errors.split())
