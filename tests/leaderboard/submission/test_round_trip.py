"""pack → verify → add → build: the same standings as the run itself; and what else can be built of."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.records.read import Run, read_run
from harness.records.schema import ADDED, NOT_SUBMITTED
from harness.records.step_row import SAMPLED
from leaderboard.site.site_data import payload
from leaderboard.standings.standings import standings
from leaderboard.standings.transfer import transfer_matrices
from leaderboard.submission.file_format.records_table import SCHEMA
from leaderboard.submission.leaderboard_entry import write_entry
from leaderboard.submission.leaderboard_sources import read_sources
from leaderboard.submission.pack import write_submission
from leaderboard.submission.run_of_submission import as_run
from leaderboard.submission.submission import open_submission
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.submission.forge import Parts, forged, table_of, with_table
from tests.run.runs import FAST, FROM_FILES, TRAINED, harness_here, one_seed


def shown(run: Run) -> dict:
    return without_source(payload([run], standings([run]), transfer_matrices([run])))


def without_source(data: dict) -> dict:
    """What the page tells, but for whether it is of a run or of a submission."""
    runs = [{name: value for name, value in run.items() if name != "checked"} for run in data["runs"]]
    sections = []
    for section in data["sections"]:
        rows = [row | {"marks": [mark for mark in row["marks"] if mark != "as submitted"]} for row in section["rows"]]
        sections.append(section | {"rows": rows})
    return data | {"runs": runs, "sections": sections}


def submitted(table: pa.Table) -> pa.Table:
    """Without the columns that stay in a run."""
    return table.drop_columns([name for name in table.column_names if name in NOT_SUBMITTED])


def same_tables(one: Run, other: Run) -> bool:
    """Whether ``other`` holds what is submitted of ``one``, and nothing of what is not."""
    cells = {cell.record.key: cell for cell in one}
    return len(cells) == len(other.cells) and all(
        cell.record == cells[cell.record.key].record
        and submitted(cell.steps()).equals(submitted(cells[cell.record.key].steps()))
        and submitted(cell.examples()).equals(submitted(cells[cell.record.key].examples()))
        and set(cell.examples()["messages"].to_pylist()) <= {None}
        for cell in other
    )


@pytest.mark.slow
def test_the_page_is_the_same(packed: Path, tmp_path: Path) -> None:
    added = harness_here(*FROM_FILES, "leaderboard", "add", packed, cwd=tmp_path)
    assert added.returncode == 0, added.stderr
    folder = tmp_path / "leaderboard" / "entries"
    names = sorted(path.suffix for path in folder.iterdir())
    assert names == [".json", ".parquet"]
    entry = next(folder.glob("*.json"))
    for out, source in (("a", [packed.parent / "run"]), ("b", ["--entries", folder]), ("c", [entry]), ("d", [packed])):
        built = harness_here("leaderboard", "build", *source, "--out", out, cwd=tmp_path)
        assert built.returncode == 0, built.stderr
    pages = {out: json.loads((tmp_path / out / "data.json").read_text()) for out in "abcd"}
    assert pages["a"]["sections"][0]["rows"]
    assert [[run["checked"] for run in pages[out]["runs"]] for out in "abcd"] == [[False], [True], [True], [True]]
    assert all(without_source(page) == without_source(pages["a"]) for page in pages.values())
    assert "a run directory, not checked" in (tmp_path / "a" / "index.html").read_text()
    assert "a submission, whose file was checked" in (tmp_path / "b" / "index.html").read_text()


@pytest.mark.slow
def test_a_run_with_trained_defenses(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(one_seed(TRAINED), encoding="utf-8")
    assert harness_here("run", "tiny.yaml", "--out", "run", "--quiet", cwd=tmp_path).returncode == 0
    for words in (
        ("pack", "run", "--out", "tiny.zip"),
        ("verify", "tiny.zip"),
        ("verify", "tiny.zip", "--replay", 10, "--spec", "tiny.yaml", "--store", "run/artifacts"),
        ("add", "tiny.zip"),
    ):
        done = harness_here("leaderboard", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    run, (entry,) = read_run(tmp_path / "run"), read_sources([], [tmp_path / "leaderboard" / "entries"]).runs
    assert same_tables(run, entry)
    assert shown(run) == shown(entry)
    assert len(run.cells) == 3


def test_the_same_run_gives_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    write_submission(read_run(packed.parent / "run"), tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_an_entry_is_read_as_it_was_packed(packed: Path, tmp_path: Path) -> None:
    submission = open_submission(packed)
    path = write_entry(submission, tmp_path)
    entry = open_submission(path)
    assert (entry.cells, entry.spec, entry.run) == (submission.cells, submission.spec, submission.run)
    assert entry.sha256 == submission.sha256
    assert re.fullmatch(r"fast-1-[0-9a-f]{12}\.json", path.name)
    verified = harness_here(*FROM_FILES, "leaderboard", "verify", path, cwd=tmp_path)
    assert verified.returncode == 0, verified.stdout
    first = path.read_bytes(), path.with_suffix(".parquet").read_bytes()
    write_entry(entry, tmp_path)
    assert first == (path.read_bytes(), path.with_suffix(".parquet").read_bytes())
    lines = path.read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) < 300  # to be read line by line
    assert json.loads(path.read_text(encoding="utf-8"))["spec"] == FAST.split("\n")


def test_a_submission_of_before_lacks_what_was_added_since(parts: Parts, tmp_path: Path) -> None:
    whole = table_of(parts)
    sink = io.BytesIO()
    pq.write_table(whole.drop_columns(sorted(ADDED - NOT_SUBMITTED)), sink, store_schema=False)
    old = open_submission(forged(with_table(parts, sink.getvalue(), len(whole)), tmp_path / "old.zip"))
    now = open_submission(forged(parts, tmp_path / "now.zip"))
    for one, other in zip(as_run(old), as_run(now), strict=True):
        for old_table, table in ((one.examples(), other.examples()), (one.steps(), other.steps())):
            read = old_table.to_pydict()
            assert all(set(read.pop(name)) <= {None} for name in ADDED if name in table.column_names)
            assert read == {name: values for name, values in table.to_pydict().items() if name not in ADDED}
    assert shown(as_run(old)) == shown(as_run(now))


@pytest.mark.slow
def test_many_cells_over_several_row_groups(tmp_path: Path) -> None:
    """More rows than a row group holds, in cells of which some lie in two of them."""
    cells = [FakeCell(seed=seed, attack=name, steps=200) for seed in range(6) for name in ("gcg", "beast")]
    run = read_run(write_run(tmp_path / "run", cells))
    write_submission(run, tmp_path / "many.zip")
    found = open_submission(tmp_path / "many.zip")
    assert found.records.groups == 2
    assert found.rows == 12 * (42 + 40 * 200)
    assert same_tables(run, as_run(found))
    assert shown(run) == shown(as_run(found))


@pytest.mark.slow
def test_an_entry_that_was_edited(packed: Path, tmp_path: Path) -> None:
    path = write_entry(open_submission(packed), tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"n_attacked": 6', '"n_attacked": 5'), encoding="utf-8")
    done = harness_here("leaderboard", "build", "--entries", tmp_path, "--out", tmp_path / "site", cwd=tmp_path)
    assert done.returncode == 2
    assert f"error: {path}: cell " in done.stderr
    assert not (tmp_path / "site").exists()
    path.write_text(text, encoding="utf-8")
    table = path.with_suffix(".parquet")
    table.write_bytes(table.read_bytes()[:-1] + b"2")
    done = harness_here("leaderboard", "show", path, cwd=tmp_path)
    assert done.returncode == 2
    assert "not what the manifest says" in done.stderr
    table.unlink()
    done = harness_here("leaderboard", "show", path, cwd=tmp_path)
    assert "it is the table of the entry" in done.stderr


def test_what_is_not_verified_is_not_added(packed: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(packed.read_bytes()[:-30])
    done = harness_here(*FROM_FILES, "leaderboard", "add", broken, "--entries", "entries", cwd=tmp_path)
    assert done.returncode == 1
    assert "Not verified." in done.stderr
    assert not (tmp_path / "entries").exists()


@pytest.mark.parametrize(
    ("status", "said"), [("failed", "1 cell done, 1 failed"), ("skipped", "1 cell skipped, beyond")]
)
def test_a_run_that_is_not_finished(status: str, said: str, tmp_path: Path) -> None:
    write_run(tmp_path / "run", [FakeCell(), FakeCell(seed=1, status=status)])
    done = harness_here("leaderboard", "pack", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_of_nothing(tmp_path: Path) -> None:
    done = harness_here("leaderboard", "build", tmp_path, "--out", "site", cwd=tmp_path)
    assert done.returncode == 2
    assert "not a run directory" in done.stderr
    done = harness_here("leaderboard", "build", "--entries", tmp_path, "--out", "site", cwd=tmp_path)
    assert done.returncode == 2
    assert "holds no entry" in done.stderr
    done = harness_here("leaderboard", "show", cwd=tmp_path)
    assert done.returncode == 2
    assert "Nothing to read" in done.stderr


def test_a_table_has_what_a_reviewer_wants_to_see(packed: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(write_entry(open_submission(packed), tmp_path).with_suffix(".parquet"))
    assert table.column_names == [name for name in SCHEMA.names if name not in SAMPLED]
    assert {row["step"] for row in table.to_pylist()} == {0, 1, 2, 3}
    assert all(row["attack_text"] for row in table.to_pylist() if row["success"])
