"""What a page says of rows: as submitted, verified or replayed, by the keeper's own word and nobody else's."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from leaderboard.data.evidence import Evidence, weakest_evidence
from leaderboard.site.site_data import payload
from leaderboard.standings.standings import standings
from leaderboard.submission.leaderboard_sources import read_sources
from leaderboard.submission.verification.inspection import inspect_submission
from leaderboard.submission.verification_record import read_verifications
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.submission.forge import Parts, forged, with_rows
from tests.run.runs import FROM_FILES, harness_here


@pytest.fixture(autouse=True)
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inspection in this process: quick."""
    monkeypatch.setattr("leaderboard.submission.verification.sandbox.inspect_in_sandbox", inspect_submission)


def marks(*files: Path, verified: Path | None = None) -> list[list[str]]:
    runs = read_sources(files, verified=verified).runs
    return [row["marks"] for section in payload(runs, standings(runs))["sections"] for row in section["rows"]]


def command(*words: object, cwd: Path) -> str:
    done = harness_here(*FROM_FILES, "leaderboard", *words, "--verified", "verified", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def replayed(packed: Path, tmp_path: Path) -> Path:
    """An entry that was replayed when it was added; ``verified`` next to its folder says so."""
    spec, store = packed.parent / "fast.yaml", packed.parent / "run" / "artifacts"
    command("add", packed, "--replay", 5, "--seed", 7, "--spec", spec, "--store", store, cwd=tmp_path)
    (entry,) = (tmp_path / "leaderboard" / "entries").glob("*.json")
    return entry


def test_a_replay_stands_on_the_page(replayed: Path, tmp_path: Path) -> None:
    assert marks(replayed) == [["as submitted"]]
    ((mark,),) = marks(replayed, verified=tmp_path / "verified")
    strings = len(read_sources([replayed]).runs[0].cells[0].steps()) * 2
    assert mark == f"replayed: 5 of {strings} strings"
    entries = replayed.parent
    built = command("build", "--entries", entries, "--out", "site", cwd=tmp_path)
    assert "Wrote" in built
    (page,) = (tmp_path / "site" / "entries").glob("*.html")
    told = page.read_text(encoding="utf-8")
    assert "All else here is as submitted." in told  # besides the diagnostics
    for words in ("5 strings of each row, drawn with seed 7", "compared with a spec of the leaderboard", mark):
        assert words in told


def test_without_a_replay_it_is_verified(packed: Path, tmp_path: Path) -> None:
    command("verify", packed, cwd=tmp_path)
    assert marks(packed, verified=tmp_path / "verified") == [["verified"]]
    (record,) = read_verifications(tmp_path / "verified").values()
    assert (record.spec, record.replay) == ("own", None)
    told = record.evidence(read_sources([packed]).runs[0].cells[0].record).found
    assert any("compared with the submitter's own spec" in text for text in told)


def test_what_is_refused_leaves_no_word(packed: Path, parts: Parts, tmp_path: Path) -> None:
    def shorter(rows: list[dict[str, Any]]) -> None:
        rows[-1]["queries"] = -1

    bad = forged(with_rows(parts, shorter), tmp_path / "bad.zip")
    done = harness_here(*FROM_FILES, "leaderboard", "verify", bad, "--verified", "verified", cwd=tmp_path)
    assert done.returncode == 1
    assert not (tmp_path / "verified").exists()


def test_a_word_holds_for_one_content(replayed: Path, packed: Path, tmp_path: Path) -> None:
    """Of another table under the same name, or of the file that the entry was made of, nothing has been found."""
    assert marks(packed, verified=tmp_path / "verified") == [["as submitted"]]
    told = json.loads(replayed.read_text(encoding="utf-8"))
    told["submission"] = "0" * 64
    replayed.write_text(json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    assert marks(replayed, verified=tmp_path / "verified") == [["as submitted"]]


def test_a_submitters_word_is_not_taken(replayed: Path, tmp_path: Path) -> None:
    """One that lies among the entries is an entry that is refused, and gives no mark."""
    (word,) = (tmp_path / "verified").iterdir()
    shutil.copy(word, replayed.parent)
    done = harness_here("leaderboard", "build", "--entries", replayed.parent, "--out", "site", cwd=tmp_path)
    assert done.returncode == 1
    assert "left out" in done.stderr
    data = json.loads((tmp_path / "site" / "data.json").read_text(encoding="utf-8"))
    assert [row["marks"] for section in data["sections"] for row in section["rows"]] == [["as submitted"]]


def test_a_folder_that_holds_something_else(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_verifications(tmp_path / "nothing")
    (tmp_path / "other.json").write_text('{"format": 1, "what": "robustness-harness entry"}')
    with pytest.raises(DataError, match=r"other\.json: what: "):
        read_verifications(tmp_path)


def test_a_row_is_as_good_as_its_weakest_cell(packed: Path, tmp_path: Path) -> None:
    (cell, other) = read_sources([packed]).runs[0].cells
    whole, half, verified = Evidence(True, True, 4, 4), Evidence(True, True, 2, 4), Evidence(True)
    for weaker in (half, verified, Evidence()):
        cells = [replace(cell, evidence=whole), replace(other, evidence=weaker)]
        assert weakest_evidence(cells) == weakest_evidence(cells[::-1]) == weaker
    (own,) = read_sources([write_run(tmp_path / "own", [FakeCell()])]).runs[0].cells
    assert weakest_evidence([cell, own]) is weakest_evidence([]) is None
    assert marks(packed, tmp_path / "own")[-1] == ["not checked"]
