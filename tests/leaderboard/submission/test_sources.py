"""What a page is built of: who is believed, what is left out, and what happens when two files tell of one cell."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from harness.records.read import read_run
from harness.registry.loader import load_plugins
from leaderboard.site.build import build_site
from leaderboard.site.site_data import payload
from leaderboard.standings.standings import standings
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.leaderboard_entry import write_entry
from leaderboard.submission.leaderboard_sources import read_sources
from leaderboard.submission.pack import readable_json, write_submission
from leaderboard.submission.submission import open_submission
from leaderboard.submission.verification.inspection import inspect_submission
from leaderboard.submission.verification.verify import verify_submission
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.submission.forge import Parts, forged, with_rows
from tests.run.runs import harness_here


@pytest.fixture(autouse=True)
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inspection in this process: quick. What the process of its own is for is tested in test_bounds."""
    monkeypatch.setattr("leaderboard.submission.verification.sandbox.inspect_in_sandbox", inspect_submission)


def others_losses(parts: Parts, out: Path) -> Path:
    """The same cells with other rows, consistent in themselves."""

    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["loss"] is not None and not row["success"]:
                row["loss"] += 0.5

    return forged(with_rows(parts, change), out)


def test_two_entries_that_tell_of_one_cell_otherwise(packed: Path, parts: Parts, tmp_path: Path) -> None:
    entries = tmp_path / "entries"
    entries.mkdir()
    names = {
        write_entry(open_submission(path), entries).name
        for path in (packed, others_losses(parts, tmp_path / "others.zip"))
    }
    assert len(names) == 2
    done = harness_here("leaderboard", "build", "--entries", entries, "--out", "site", cwd=tmp_path)
    assert done.returncode == 2
    assert "its records differ from those of the same cell in" in done.stderr
    assert all(name in done.stderr for name in names)
    assert not (tmp_path / "site").exists()


def test_one_cell_told_twice_alike_counts_once(packed: Path) -> None:
    run = read_run(packed.parent / "run")
    once, twice = standings([run]), standings(read_sources([packed.parent / "run", packed]).runs)
    assert payload([run], once)["sections"] == payload([run], twice)["sections"]


def test_a_cell_of_two_specs_stands_in_both(tmp_path: Path) -> None:
    """Whoever has a spec of their own takes no cell from another's table."""
    runs = [
        read_run(write_run(tmp_path / name, [FakeCell(more={"key": "a" * 20, "spec_hash": name * 64})]))
        for name in "bc"
    ]
    assert [len(table.rows) for table in standings(runs)] == [1, 1]


def test_an_entry_is_named_by_what_it_holds(packed: Path, parts: Parts, tmp_path: Path) -> None:
    """Another's entry is not replaced by one that claims to be made of the same file."""
    entries = tmp_path / "entries"
    entries.mkdir()
    first = write_entry(open_submission(packed), entries)
    before = {file.name: file.read_bytes() for file in entries.iterdir()}
    (tmp_path / "mine").mkdir()
    claiming = write_entry(open_submission(others_losses(parts, tmp_path / "others.zip")), tmp_path / "mine")
    told = json.loads(claiming.read_text())
    claiming.write_text(json.dumps(told | {"submission": json.loads(first.read_text())["submission"]}))
    second = write_entry(open_submission(claiming), entries)
    assert second.name != first.name
    assert before == {name: (entries / name).read_bytes() for name in before}
    assert write_entry(open_submission(packed), entries) == first  # the same again is no other
    first.write_bytes(first.read_bytes() + b" ")
    with pytest.raises(DataError, match="already exists, with different content"):
        write_entry(open_submission(packed), entries)


def rewritten(entry: Path, table: bytes) -> None:
    """Another table for an entry, with the hash that goes with it."""
    entry.with_suffix(".parquet").write_bytes(table)
    told = json.loads(entry.read_text(encoding="utf-8"))
    told["table"] = {"bytes": len(table), "sha256": hashlib.sha256(table).hexdigest()}
    entry.write_bytes(readable_json(told))


def form(entry: Path, *, written_anew: bool = False) -> str:
    """What `verify` says of an entry's bytes, or `add`, which writes them again."""
    (file, *_) = verify_submission(entry, load_plugins().registry, written_anew=written_anew).checks
    return "; ".join(file.problems)


def test_bytes_that_no_reader_shows(packed: Path, tmp_path: Path) -> None:
    entry = write_entry(open_submission(packed), tmp_path)
    assert form(entry) == ""
    whole = entry.read_bytes()
    entry.write_bytes(whole.replace(b'"format": 1', b'"format":  1', 1))
    assert "its JSON is not written as" in form(entry)
    entry.write_bytes(whole)
    table = entry.with_suffix(".parquet").read_bytes()
    footer = int.from_bytes(table[-8:-4], "little") + 8
    code = b"import os; os.system('x')"
    hiding = table[:-footer] + code + table[-footer:]
    rewritten(entry, hiding)
    assert "may hold bytes that no reader shows" in form(entry)
    assert form(entry, written_anew=True) == ""
    with pytest.raises(DataError, match="may hold bytes"):
        read_sources([entry])
    anew = write_entry(open_submission(entry), tmp_path / "anew")
    assert form(anew) == ""
    assert code not in anew.with_suffix(".parquet").read_bytes()
    at = hiding.rindex(b"parquet-cpp-arrow version ") + 26  # to say that another version wrote it does not help
    rewritten(entry, hiding[:at] + bytes([hiding[at] ^ 1]) + hiding[at + 1 :])
    assert "cannot be determined. Add it again" in form(entry)
    assert len(read_sources([entry]).runs) == 1  # a page is made of what a reader shows


@pytest.fixture
def entries(packed: Path, tmp_path: Path) -> Path:
    """A folder with one entry."""
    folder = tmp_path / "entries"
    folder.mkdir()
    write_entry(open_submission(packed), folder)
    return folder


def test_a_run_in_a_folder_of_entries_is_none(entries: Path, tmp_path: Path) -> None:
    shutil.copytree(write_run(tmp_path / "perfect", [FakeCell(wrong=0)]), entries, dirs_exist_ok=True)
    done = harness_here("leaderboard", "build", "--entries", entries, "--out", "site", cwd=tmp_path)
    assert done.returncode == 1
    assert f"left out: {entries / 'run.json'}" in done.stderr
    (run,) = json.loads((tmp_path / "site" / "data.json").read_text())["runs"]
    assert (run["spec_name"], run["checked"]) == ("fast", True)
    done = harness_here("leaderboard", "build", entries, "--out", "other", cwd=tmp_path)
    assert done.returncode == 2
    assert "holds entries as well as a run.json" in done.stderr


def test_a_folder_of_entries_must_be_said_to_be_one(entries: Path, tmp_path: Path) -> None:
    done = harness_here("leaderboard", "show", entries, cwd=tmp_path)
    assert done.returncode == 2
    assert "Give a folder of entries with --entries" in done.stderr


def test_a_bad_entry_is_left_out_and_told(entries: Path, packed: Path, tmp_path: Path) -> None:
    (entries / "bad.json").write_text("{}")
    for words in (("build", "--out", "site"), ("show",), ("transfer",), ("attacks",), ("stacks",)):
        done = harness_here("leaderboard", *words, "--entries", entries, cwd=tmp_path)
        assert (done.returncode, "left out: " in done.stderr) == (1, True), words
        assert str(entries / "bad.json") in done.stderr
    assert len(json.loads((tmp_path / "site" / "data.json").read_text())["runs"]) == 1
    sources = read_sources([packed], [entries])
    assert (len(sources.runs), len(sources.refused)) == (2, 1)


def test_what_is_not_checked_is_marked_beside_what_is(packed: Path, tmp_path: Path) -> None:
    own = write_run(tmp_path / "own", [FakeCell()])
    runs = read_sources([packed, own]).runs
    sections = payload(runs, standings(runs))["sections"]
    marks = {section["spec_name"]: [row["marks"] for row in section["rows"]] for section in sections}
    assert marks.pop("fast") == [["as submitted"]]
    assert all("not checked" in row for rows in marks.values() for row in rows)
    alone = payload(runs[1:], standings(runs[1:]))["sections"]
    assert all("not checked" not in row["marks"] for section in alone for row in section["rows"])


def test_a_page_says_who_submitted_and_where_to_read_more(packed: Path, tmp_path: Path) -> None:
    claims = {"by": "Zoë Doe, a lab", "paper": "Doe 2026, arXiv 2601.00001", "link": "https://example.org/a?b=c"}
    run = read_run(packed.parent / "run")
    write_submission(run, tmp_path / "told.zip", claims=claims)
    entry = write_entry(open_submission(tmp_path / "told.zip"), tmp_path)
    site = build_site(read_sources([entry]).runs, tmp_path / "site").parent
    for page in (site / "entries").iterdir():
        text = page.read_text(encoding="utf-8")
        assert "<dt>By</dt><dd>Zoë Doe, a lab</dd>" in text
        assert 'Doe 2026, <a href="https://arxiv.org/abs/2601.00001">arXiv 2601.00001</a>' in text
        assert '<a href="https://example.org/a?b=c" rel="nofollow">' in text
        assert ">as submitted</a>" in text
    assert "by Zoë Doe, a lab" in (site / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("by", "a\nb"),
        ("by", "<b>"),
        ("by", "\u202e"),
        ("paper", "x" * 301),
        ("link", "http://a.org"),
        ("link", "javascript:1"),
    ],
)
def test_what_a_page_should_not_show_is_refused(packed: Path, tmp_path: Path, name: str, text: str) -> None:
    write_submission(read_run(packed.parent / "run"), tmp_path / "told.zip", claims={name: text})
    with pytest.raises(RefusedError, match=rf"run\.{name}"):
        open_submission(tmp_path / "told.zip")
