"""Text of others shows what it is, wherever it stands."""

from __future__ import annotations

import csv
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from harness.errors import one_line
from harness.records.visible_text import visible
from leaderboard.data.visible_text import cell_text
from leaderboard.submission.verification.inspection import inspect_submission
from tests.leaderboard.fake_run import FakeCell, planned, write_run
from tests.run.runs import harness_here

FORMULA_SIGNS = st.sampled_from("=+-@\t\r\n＝＋－＠")
TURNED, FORMULA = "tiny\u202e)b5 ,tpg(", '=HYPERLINK("http://example.org/";"more")'


def unseen(text: str) -> list[str]:
    return [c for c in text if unicodedata.category(c) in ("Cf", "Zl", "Zp") and c not in "\u200c\u200d"]


@given(st.text())
def test_nothing_is_left_that_nobody_sees(text: str) -> None:
    shown = visible(text)
    assert not unseen(shown)
    assert shown == text or unseen(text)
    assert json.loads(visible(json.dumps(text, ensure_ascii=False))) == text  # JSON of it reads as before


@given(st.builds(str.__add__, FORMULA_SIGNS, st.text()) | st.text())
def test_no_cell_is_a_formula(text: str) -> None:
    assert not cell_text(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
    assert cell_text(text).removeprefix("'") == one_line(visible(text)).removeprefix("'")
    assert len(cell_text(text).splitlines()) <= 1


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run in which everything that can be named is named badly."""
    cells = [
        FakeCell(task=TURNED, victim=FORMULA, attack=attack, defense=TURNED, seed=seed)
        for attack in (TURNED, FORMULA)
        for seed in (0, 1)
    ]
    return write_run(tmp_path / "run", cells, spec=f"name: fake # {TURNED}\n")


def test_the_page(run: Path, tmp_path: Path) -> None:
    done = harness_here("leaderboard", "build", run, "--out", "site", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    texts = [path for path in (tmp_path / "site").rglob("*") if path.suffix in (".html", ".json", ".csv", ".yaml")]
    assert {path.suffix for path in texts} == {".html", ".json", ".csv", ".yaml"}
    assert not [path for path in texts if unseen(path.read_text(encoding="utf-8"))]
    with (tmp_path / "site" / "downloads" / "standings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["victim"] == f"'{FORMULA}"
    assert rows[0]["defense"] == "tiny\\u202e)b5 ,tpg("


@pytest.mark.parametrize("command", ["show", "transfer", "attacks", "stacks", "attacks --markdown"])
def test_the_terminal(command: str, run: Path, tmp_path: Path) -> None:
    words = [*command.split(), *(["--defense", TURNED] if "--markdown" in command else [])]
    done = harness_here("leaderboard", *words, run, cwd=tmp_path)
    assert (done.returncode == 0) == (command != "attacks"), done.stderr  # there is no undefended cell
    assert not unseen(done.stdout + done.stderr)
    assert command != "attacks" or "tiny\\u202e" in done.stderr
    assert "--markdown" not in command or "tiny\\\\u202e" in done.stdout


def test_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a file is another's as well."""
    monkeypatch.setattr("leaderboard.submission.verification.sandbox.inspect_in_sandbox", inspect_submission)
    (tmp_path / f"{TURNED}.json").write_text("{}")
    run = write_run(tmp_path / TURNED, [FakeCell()])
    for words in (("show", run, tmp_path / f"{TURNED}.json"), ("show", tmp_path / f"{TURNED}.json"), ("pack", run)):
        done = harness_here("leaderboard", *words, cwd=tmp_path)
        assert done.returncode
        assert "\\u202e" in done.stderr
        assert not unseen(done.stdout + done.stderr)


def test_a_figure(tmp_path: Path) -> None:
    r"""A name is no formula to matplotlib either: ``$\frac$`` would be one that cannot be set."""
    task = rf"$\frac$ {TURNED}"
    source = {"attack": "gcg", "victim": TURNED, "defense": "none", "threat": FakeCell.threat, "seed": 0}
    run = write_run(tmp_path / "run", [FakeCell(task=task), FakeCell(task=task, attack="transfer", source=source)])
    for kind in ("attack-scaling", "transfer"):
        done = harness_here("plot", run, "--out", f"{kind}.svg", "--kind", kind, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        drawn = (tmp_path / f"{kind}.svg").read_text(encoding="utf-8")
        assert r"$\frac$ tiny\u202e" in drawn
        assert not unseen(drawn)


BROKEN = "two\nlines\x1b[2J\tand\u2028more"


def test_labels_with_line_breaks_break_no_line(tmp_path: Path) -> None:
    made = FakeCell(task=BROKEN, victim=BROKEN, defense=BROKEN, attack=BROKEN, labels=(BROKEN, "no"), targets=True)
    failed = FakeCell(task=BROKEN, victim="other", status="failed", more={"error": BROKEN})
    run = write_run(tmp_path / "run", [made, failed], planned=planned([made, failed]))
    outputs = [harness_here("leaderboard", command, run, cwd=tmp_path).stdout for command in ("show", "transfer")]
    outputs.append(harness_here("fit", "attack-scaling", run, cwd=tmp_path).stdout)
    outputs.append(harness_here("status", run, cwd=tmp_path).stdout)
    assert harness_here("leaderboard", "build", run, "--out", "site", cwd=tmp_path).returncode == 0
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")]
    for text in (*outputs, *pages):
        assert "\x1b" not in text
        assert "two\n" not in text
    written_out = "two\\nlines\\x1b[2J\\tand\\u2028more"
    assert written_out in outputs[0]
    assert sum(written_out in page for page in pages) == 6, "all but the one that says how to read them"
    lines = (tmp_path / "site/downloads/standings.csv").read_text().splitlines()
    assert len(lines) == 2
    found = json.loads((tmp_path / "site/data.json").read_text())["sections"][0]
    assert (found["missing"], len(found["rows"])) == (1, 1), "what is planned is known again"
