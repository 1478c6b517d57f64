"""What workers send is written as a worker here would have written it."""

from __future__ import annotations

from pathlib import Path

from harness.records.journal import Journal
from harness.run.executors.ray.received_files import append_journal, read_journal, write_files, write_journal
from harness.run.run_folder import JOURNAL, RunFolder


def test_lines_sent_make_the_same_journal(tmp_path: Path) -> None:
    here = RunFolder(tmp_path / "here")
    far = Journal(tmp_path / "far.jsonl", lambda line: append_journal(here, "k", line))
    for round in range(3):
        far.append({"rows": [{"step": round}], "states": {}, "ended": {}})
    far.close()
    assert read_journal(here, "k") == (tmp_path / "far.jsonl").read_bytes()
    assert here.cell_status("k") == "begun"


def test_half_a_line_is_not_gone_on_from(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    append_journal(folder, "k", b'{"rows": []}\n{"ro')
    assert read_journal(folder, "k") == b'{"rows": []}\n'
    write_journal(folder, "k", read_journal(folder, "k"))
    append_journal(folder, "k", b'{"rows": [1]}\n')
    assert read_journal(folder, "k") == b'{"rows": []}\n{"rows": [1]}\n'
    assert read_journal(folder, "other") == b""


def test_the_files_of_a_cell_that_is_done_replace_its_journal(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    append_journal(folder, "k", b"{}\n")
    write_files(folder, "k", {"cell.json": b'{"status": "failed"}', "error.txt": b"no luck"})
    assert (folder.cell("k") / JOURNAL).exists()
    write_files(folder, "k", {"cell.json": b'{"status": "done"}', "steps.parquet": b"rows"})
    assert {path.name for path in folder.cell("k").iterdir()} == {"cell.json", "steps.parquet"}
