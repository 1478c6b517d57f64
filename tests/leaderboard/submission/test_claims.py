"""Claims: strings against somebody else's entry, tried, written, verified, replayed and shown; never raising a row."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from leaderboard.data.evidence import Evidence
from leaderboard.site.build import build_site
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import standings
from leaderboard.submission.leaderboard_entry import write_entry
from leaderboard.submission.leaderboard_sources import Sources, read_sources
from leaderboard.submission.pack import readable_json
from leaderboard.submission.submission import open_submission
from leaderboard.submission.verification.inspection import inspect_submission
from tests.leaderboard.submission.forge import Parts, forged, with_rows
from tests.leaderboard.submission.given import BREAKING, OWN, write_strings
from tests.run.runs import FROM_FILES, harness_here


@pytest.fixture(autouse=True)
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inspection in this process: quick. What the process of its own is for is tested in test_bounds."""
    monkeypatch.setattr("leaderboard.submission.verification.sandbox.inspect_in_sandbox", inspect_submission)


@pytest.fixture(scope="module")
def board(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an entry in ``entries``."""
    folder = tmp_path_factory.mktemp("board")
    write_entry(open_submission(packed), folder / "entries")
    return folder


def entry_of(board: Path) -> Path:
    (entry,) = (board / "entries").glob("*.json")
    return entry


def claiming(board: Path, packed: Path, folder: Path, rows: Any, *options: object) -> tuple[int, str]:
    """Exit status and what was said of a claim with these strings; written to ``folder`` / claims."""
    strings = write_strings(folder / "strings.csv", rows)
    store = packed.parent / "run" / "artifacts"
    words = ("claim", entry_of(board), strings, "--by", "Roe", "--store", store, "--claims", folder / "claims")
    words += ("--spec", packed.parent / "fast.yaml")
    done = harness_here(*FROM_FILES, "leaderboard", *words, *options, cwd=folder)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def claim(board: Path, packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A claim against the entry, with a link."""
    folder = tmp_path_factory.mktemp("claim")
    patch = pytest.MonkeyPatch()
    patch.setattr("leaderboard.submission.verification.sandbox.inspect_in_sandbox", inspect_submission)
    status, said = claiming(board, packed, folder, BREAKING, "--link", "https://example.org/strings")
    patch.undo()
    assert status == 0, said
    assert "2 examples broken, 2 of them by no attack of the entry" in said
    assert "trying the strings in 1 cell" in said  # what it takes is said first
    (path,) = (folder / "claims").glob("*.json")
    return path


def verify(board: Path, claim: Path, packed: Path, *options: object) -> tuple[int, dict[str, Any]]:
    words = ("verify", claim, "--entries", board / "entries", "--spec", packed.parent / "fast.yaml", "--json")
    done = harness_here(*FROM_FILES, "leaderboard", *words, *options, cwd=claim.parent)
    return done.returncode, json.loads(done.stdout)


def read(board: Path, claim: Path, verified: Path | None = None) -> tuple[Sources, Standing]:
    sources = read_sources([], [board / "entries"], verified, claim.parent)
    (table,) = standings(sources.runs, others=sources.others)
    (row,) = table.rows
    return sources, row


def test_it_counts_once_it_is_replayed(board: Path, claim: Path, packed: Path, tmp_path: Path) -> None:
    _, alone = read(board, claim)
    recorded = alone.others.claimed.claims[0].claim if alone.others.claimed else None
    assert recorded is not None
    parts = ((Evidence(True), False), (Evidence(True, True, 5, 6), False), (Evidence(True, True, 6, 6), True))
    for replayed, counts in parts:
        assert replace(recorded, evidence=replayed).counts is counts  # a part of the strings is not enough
    assert alone.others.claimed is not None
    assert alone.others.claimed.asr is None  # nobody has replayed it
    options = (
        "--replay",
        50,
        "--seed",
        3,
        "--store",
        packed.parent / "run" / "artifacts",
        "--verified",
        tmp_path / "v",
    )
    status, report = verify(board, claim, packed, *options)
    assert (status, report["verified"]) == (0, True), report
    sources, row = read(board, claim, tmp_path / "v")
    claimed = row.others.claimed
    assert claimed is not None
    assert claimed.asr is not None
    assert row.asr is not None
    assert (row.asr.successes, claimed.asr.successes, claimed.asr.trials) == (1, 3, row.asr.trials)
    assert claimed.claims[0].claim.evidence.mark.startswith("replayed: ")
    # What is declared is 5e6 FLOPs for six examples; half of them fall only with those that the entry broke itself.
    assert claimed.cost is not None
    assert row.own_cost.full is not None
    assert claimed.cost.with_own
    assert claimed.cost.compute == pytest.approx(5e6 / 6 + row.own_cost.full)
    assert (row.rank, row.asr, row.cost_to_break) == (alone.rank, alone.asr, alone.cost_to_break)

    site = build_site(sources.runs, tmp_path / "site", others=sources.others).parent
    (page,) = (site / "entries").iterdir()
    text = page.read_text(encoding="utf-8")
    assert "Roe, " in text
    assert 'href="https://example.org/strings" rel="nofollow"' in text
    assert "soup soup read" in text
    (told,) = json.loads((site / "data.json").read_text())["sections"][0]["rows"]
    assert "claimed" in told["marks"]
    assert told["others"]["claimed"]["asr"]["successes"] == 3
    strings = pq.read_table(site / "downloads" / "strings.parquet").to_pylist()
    brought = {(row["example"], row["string"]) for row in strings if row["claim"] == claim.stem}
    assert brought == {(example, string) for example, string, _ in BREAKING}


def test_what_a_withdrawn_claim_said_stays_and_counts_no_more(board: Path, claim: Path, tmp_path: Path) -> None:
    errata = tmp_path / "errata.yaml"
    errata.write_text(f"- {{claim: {claim.stem}, date: 2026-01-02, wrong: misread, follows: withdrawn}}")
    sources = read_sources([], [board / "entries"], None, claim.parent, errata)
    (found,) = sources.others.claims
    assert (found.withdrawn, found.counts) == ("misread", False)


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([("validation-00000", "zzzz")], (), "changes nothing about .*: no string succeeded"),
        (
            [("validation-00000", "a much longer string than four tokens")],
            (),
            r"1 step failed \(33 tokens, budget 4\); no string succeeded",
        ),
        ([("validation-00019", " soup")], (), "1 of 1 example were not attacked in this row, such as"),
        ([(BREAKING[0])], ("--row", "defense=other"), "has no row with defense=other"),
        ([(BREAKING[0])], ("--row", "colour=red"), "write KIND=LABEL"),
        ([], (), "holds no string"),
        ([("validation-00002", " soup", "many")], (), "line 2: flops is 'many', not a number"),
        ([(BREAKING[0])], ("--by", ""), "--by is missing"),
    ],
)
def test_what_changes_nothing_is_not_written(
    board: Path, packed: Path, tmp_path: Path, rows: Any, options: tuple[str, ...], said: str
) -> None:
    status, told = claiming(board, packed, tmp_path, rows, *options)
    assert status == 2
    assert re.search(said, told), told
    assert told.count("error:") == 1
    assert not list(tmp_path.glob("claims/*"))


def test_a_spec_that_nobody_has_read_is_not_run(board: Path, packed: Path, tmp_path: Path) -> None:
    """It may name any file, address or model."""
    strings = write_strings(tmp_path / "strings.csv", BREAKING)
    done = harness_here(*FROM_FILES, "leaderboard", "claim", entry_of(board), strings, "--by", "Roe", cwd=tmp_path)
    assert done.returncode == 2
    assert "give it with --spec FILE" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_what_the_entry_broke_itself_is_no_news(board: Path, packed: Path, tmp_path: Path) -> None:
    rows = pq.read_table(entry_of(board).with_suffix(".parquet")).to_pylist()
    string = next(row["attack_text"] for row in rows if row["success"] and row["example"] == OWN)
    status, said = claiming(board, packed, tmp_path, [(OWN, string)])
    assert status == 2
    assert "which the row's own attacks broke too" in said


def test_a_claim_is_no_entry_and_an_entry_no_claim(board: Path, claim: Path, packed: Path, tmp_path: Path) -> None:
    mixed = read_sources([packed], [claim.parent])
    assert "is a claim, not an entry" in mixed.refused[0]
    swapped = read_sources([packed], claims=board / "entries")
    assert "is an entry, not a claim" in swapped.refused[0]
    done = harness_here(*FROM_FILES, "leaderboard", "add", claim, "--entries", tmp_path / "more", cwd=tmp_path)
    assert done.returncode != 0
    assert not list(tmp_path.glob("more/*"))


def test_without_its_entry_nothing_can_be_told(claim: Path, packed: Path, tmp_path: Path) -> None:
    (tmp_path / "entries").mkdir()
    status, report = verify(tmp_path, claim, packed)
    assert status == 1
    assert "missing; the claim is made against this entry" in report["checks"][-1]["problems"][0]


def _against(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda told: told["claim"].update(fields)


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "an example that was not attacked": (
        lambda told: told["claim"]["examples"].update(nobody={"strings": 1}),
        "example 'nobody' was not attacked",
    ),
    "another row": (_against(victim="gpt-5"), "stands in another row than the one that is claimed"),
    "another round": (_against(round=2), "stands in another row"),
    "the spec of another entry": (_against(entry_spec="0" * 64), "it is made against spec 000000000000"),
    "strings of another hash": (_against(sha256="0" * 64), "its spec is not the entry's with the given strings"),
    "a path in its name": (_against(entry="../../etc/passwd"), "claim.entry"),
    "compute below zero": (
        lambda told: told["claim"]["examples"]["validation-00002"].update(flops=-1.0),
        "flops",
    ),
    "no examples at all": (_against(examples={}), "claim.examples"),
    "a field of its own": (_against(verdict="broken"), "claim.verdict"),
    "a spec of its own": (
        lambda told: told.update(spec=[*told["spec"], "# see https://example.org"]),
        "its spec is not the entry's with the given strings",
    ),
    "the name of an entry": (lambda told: told.update(what="robustness-harness entry"), "claim"),
    "numbers by the thousand": (
        lambda told: told["claim"]["examples"]["validation-00002"].update(strings=10**9),
        "strings",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_claims(name: str, board: Path, claim: Path, packed: Path, tmp_path: Path) -> None:
    change, said = HOSTILE[name]
    told = json.loads(claim.read_text(encoding="utf-8"))
    change(told)
    path = tmp_path / "claims" / claim.name
    path.parent.mkdir()
    path.write_bytes(readable_json(told))
    path.with_suffix(".parquet").write_bytes(claim.with_suffix(".parquet").read_bytes())
    status, report = verify(board, path, packed)
    assert status == 1
    problems = " ".join(problem for check in report["checks"] for problem in check["problems"])
    assert said in problems
    assert problems.isprintable()


def test_a_table_that_was_changed_is_refused_as_that_of_an_entry(
    board: Path, claim: Path, packed: Path, tmp_path: Path
) -> None:
    path = tmp_path / "claims" / claim.name
    path.parent.mkdir()
    path.write_bytes(claim.read_bytes())
    whole = claim.with_suffix(".parquet").read_bytes()
    path.with_suffix(".parquet").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert verify(board, path, packed)[0] == 1
    sources = read_sources([packed], claims=path.parent)
    assert "its size or sha256 differs" in sources.refused[0]
    assert sources.others.claims == ()


def test_an_entry_of_other_rows_is_another_entry(claim: Path, packed: Path, parts: Parts, tmp_path: Path) -> None:
    """A claim holds against the same victim under the same spec, and against nothing else."""

    def other_data(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["loss"] = None if row["loss"] is None else row["loss"] + 0.5 * (not row["success"])

    entry = write_entry(open_submission(forged(with_rows(parts, other_data), tmp_path / "b.zip")), tmp_path / "entries")
    status, report = verify(tmp_path, claim, packed)
    assert status == 1
    assert "missing; the claim is made against this entry" in report["checks"][-1]["problems"][0]
    assert entry.stem not in claim.read_text()
