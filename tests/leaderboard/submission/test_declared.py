"""What stands beside a submission's numbers: the same cells by another submitter, tries, and a registered spec."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import DataError
from harness.records.read import read_run
from leaderboard.site.site_data import payload
from leaderboard.standings.standings import standings
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.leaderboard_entry import write_entry
from leaderboard.submission.leaderboard_sources import Sources, read_sources
from leaderboard.submission.pack import write_submission
from leaderboard.submission.submission import open_submission
from leaderboard.submission.verification.inspection import inspect_submission
from tests.leaderboard.submission.forge import Parts, parts_of
from tests.leaderboard.submission.test_sources import others_losses


@pytest.fixture(autouse=True)
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inspection in this process: quick."""
    monkeypatch.setattr("leaderboard.submission.verification.sandbox.inspect_in_sandbox", inspect_submission)


def submitted(packed: Path, path: Path, **declared: object) -> Path:
    write_submission(read_run(packed.parent / "run"), path, claims=declared)  # type: ignore[arg-type]
    return path


def marks(sources: Sources) -> list[list[str]]:
    tables = standings(sources.runs, others=sources.others)
    return [row["marks"] for section in payload(sources.runs, tables)["sections"] for row in section["rows"]]


def test_the_same_cells_by_another_submitter(packed: Path, tmp_path: Path) -> None:
    first = submitted(packed, tmp_path / "a.zip", by="Doe")
    again = submitted(packed, tmp_path / "b.zip", by="Roe, a lab")
    sources = read_sources([first, again])
    assert marks(sources) == [["as submitted", "re-run: 2 of 2 cells the same"]]
    (table,) = standings(sources.runs, others=sources.others)
    (rerun,) = table.rows[0].others.reruns
    assert (rerun.by, rerun.cells, rerun.same, rerun.differs) == ("Roe, a lab", 2, 2, "")
    assert table.rows[0].asr == standings(read_sources([first]).runs)[0].rows[0].asr


def test_cells_that_come_out_otherwise_are_told(packed: Path, parts: Parts, tmp_path: Path) -> None:
    """Between submitters that is news about the row; by the same one, or without names, it stays an error."""
    first = submitted(packed, tmp_path / "a.zip", by="Doe")
    other = others_losses(parts_of(submitted(packed, tmp_path / "b.zip", by="Roe")), tmp_path / "c.zip")
    sources = read_sources([first, other])
    (table,) = standings(sources.runs, others=sources.others)
    (rerun,) = table.rows[0].others.reruns
    assert (rerun.same, "loss" in rerun.differs) == (0, True)
    mine = others_losses(parts_of(submitted(packed, tmp_path / "d.zip", by=" doe ")), tmp_path / "e.zip")
    with pytest.raises(DataError, match="differ from those of the same cell"):
        standings(read_sources([first, mine]).runs)


def test_tries_and_a_registered_spec(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = read_run(packed.parent / "run")
    declared = {"by": "Doe", "tries": 3, "registered": "registered/fast.txt 2026-01-31"}
    entry = write_entry(open_submission(submitted(packed, tmp_path / "a.zip", **declared)), tmp_path / "entries")
    assert marks(read_sources([entry])) == [["as submitted", "tries: 3 (declared)", "registered: declared"]]
    (tmp_path / "registered").mkdir()
    (tmp_path / "registered" / "fast.txt").write_text("fast 1 " + "0" * 64)
    assert "registered: declared" in marks(read_sources([entry]))[0]  # another hash
    (tmp_path / "registered" / "fast.txt").write_text(f"fast 1 {run.info['spec_hash']}\n")
    assert "registered: found" in marks(read_sources([entry]))[0]


@pytest.mark.parametrize(
    "registered", ["https://a.org", "a.txt", "../a 2026-01-31", "javascript:x 2026-01-31", "a b 2026-01-31"]
)
def test_what_does_not_say_where_and_when(packed: Path, tmp_path: Path, registered: str) -> None:
    path = submitted(packed, tmp_path / "a.zip", registered=registered)
    with pytest.raises(RefusedError, match=r"run\.registered"):
        open_submission(path)
