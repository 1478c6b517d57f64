"""What workers send is written as a worker here would have written it."""

from __future__ import annotations

from pathlib import Path

from harness.records.journal import Journal
from harness.run.executors.ray.received_files import add_line, begin, journal_of, put_files
from harness.run.run_folder import JOURNAL, RunFolder


def test_lines_sent_make_the_same_journal(tmp_path: Path) -> None:
    here = RunFolder(tmp_path / "here")
    far = Journal(tmp_path / "far.jsonl", lambda line: add_line(here, "k", line))
    for round in range(3):
        far.append({"rows": [{"step": round}], "states": {}, "ended": {}})
    far.close()
    assert journal_of(here, "k") == (tmp_path / "far.jsonl").read_bytes()
    assert here.cell_status("k") == "begun"


def test_half_a_line_is_not_gone_on_from(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    add_line(folder, "k", b'{"rows": []}\n{"ro')
    assert journal_of(folder, "k") == b'{"rows": []}\n'
    begin(folder, "k", journal_of(folder, "k"))
    add_line(folder, "k", b'{"rows": [1]}\n')
    assert journal_of(folder, "k") == b'{"rows": []}\n{"rows": [1]}\n'
    assert journal_of(folder, "other") == b""


def test_the_files_of_a_cell_that_is_done_replace_its_journal(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    add_line(folder, "k", b"{}\n")
    put_files(folder, "k", {"cell.json": b'{"status": "failed"}', "error.txt": b"no luck"})
    assert (folder.cell("k") / JOURNAL).exists()
    put_files(folder, "k", {"cell.json": b'{"status": "done"}', "steps.parquet": b"rows"})
    assert {path.name for path in folder.cell("k").iterdir()} == {"cell.json", "steps.parquet"}
