"""The site's files: what is written, and what is never overwritten."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from harness.errors import DataError
from harness.records.read import Run, read_run
from leaderboard import harness_register_commands
from leaderboard.fit.compared.forms.of_cells import forms_of_cells
from leaderboard.fit.compared.forms.parameters import parameter_text
from leaderboard.site.build import build_site
from leaderboard.site.pages import victims_over_tasks
from leaderboard.site.site_data import payload
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_quickstart import quickstart_cells
from tests.leaderboard.fake_run import FakeCell, planned, write_run

HOSTILE = "x</script><script>alert(1)</script>&<!--"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return read_run(write_run(tmp_path / "run", [FakeCell(), FakeCell(defense="at", round=2, defense_flops=1e13)]))


def shown_data(index: Path) -> dict[str, object]:
    text = (index.parent / "assets" / "data.js").read_text()
    packed = re.search(r'\("([A-Za-z0-9+/=]{20,})"\)', text)
    assert packed is not None
    data: dict[str, object] = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    return data


def test_the_page_holds_the_data(run: Run, tmp_path: Path) -> None:
    index = build_site([run], tmp_path / "site")
    assert shown_data(index) == json.loads((tmp_path / "site" / "data.json").read_text())
    assert "NaN" not in (tmp_path / "site" / "data.json").read_text()
    pages = list(index.parent.rglob("*.html"))
    assert {page.parent.name for page in pages} == {"site", "entries", "attacks", "defenses"}
    for page in pages:
        for address, at in re.findall(r'(?:src|href)="([^"#]*)#?([^"]*)', page.read_text()):
            if not address.startswith(("data:", "https://vega.github.io", "https://arxiv.org/abs/")):
                target = page.parent / address if address else page
                assert target.is_file()
                assert not at or "=" in at or f'id="{at}"' in target.read_text()
        header = re.findall('<header class="site">(.*?)</header>', page.read_text(), re.DOTALL)
        assert re.findall(">([^<]+)</a>", header[0]) == [
            "Standings",
            "All tasks",
            "How to read this",
            "Docs",
            "Submit",
            "Cite",
        ]


def test_attacks_and_defenses_say_what_they_are(tmp_path: Path) -> None:
    plugin = {"name": "gcg", "label": "gcg", "distribution": "robustness-harness", "version": "0.1.0"}
    known = FakeCell(attack="gcg", more={"attack": plugin | {"params": {"topk": 17, "gone": "a"}}})
    other = FakeCell(attack="gcg2", more={"attack": plugin | {"label": "gcg2", "distribution": "other", "params": {}}})
    parts = [
        {"defense": plugin | {"name": name, "label": name, "params": {}}, "sort": "guard", "offers": "victim"}
        for name in ("perplexity_filter", "retokenization")
    ]
    stack = FakeCell(defense="stack", more={"defense_facts": {"parts": parts}})
    index = build_site([read_run(write_run(tmp_path / "run", [known, other, stack]))], tmp_path / "site")
    gcg, foreign = (next((index.parent / "attacks").glob(f"{name}-*.html")).read_text() for name in ("gcg", "gcg2"))
    assert "Greedy coordinate gradient" in gcg
    assert '<a href="https://arxiv.org/abs/2307.15043">arXiv 2307.15043</a>' in gcg
    assert "<code>17</code></td><td>tokens considered per position" in gcg
    assert "<code>a</code></td><td></td>" in gcg  # a parameter that is known no more
    assert "Greedy coordinate gradient" not in foreign  # of another package: it may be anything
    defense = next((index.parent / "defenses").glob("stack-*.html")).read_text()
    assert "arxiv.org/abs/2309.00614" in defense
    assert defense.index("perplexity_filter") < defense.index("retokenization")


def test_all_tasks_at_a_glance(tmp_path: Path) -> None:
    cells = [
        FakeCell(task=task, defense=defense, round=round_, victim=victim)
        for task, defense, round_, victim in (
            ("one", "none", None, "a"),
            ("two", "none", None, "a"),
            ("one", "at", 1, "a"),
            ("one", "at", 3, "a"),
            ("two", "none", None, "b"),
        )
    ]
    run = read_run(write_run(tmp_path / "run", cells))
    tables = standings([run])
    data = payload([run], tables)
    first, second = victims_over_tasks(list(zip(data["sections"], tables, strict=True)))
    assert (first.name, first.columns, second.name, second.columns) == ("a", [0, 1], "b", [1])
    rounds = {
        defense: [None if cell is None else (cell[0]["victim"], cell[0]["round"]) for cell in of_tasks]
        for defense, of_tasks in first.rows
    }
    assert rounds == {"none": [("a", None), ("a", None)], "at": [("a", 3), None]}
    page = build_site([run], tmp_path / "site").with_name("tasks.html").read_text()
    for row in data["sections"][0]["rows"]:
        assert (f'href="entries/{row["entry"]}.html"' in page) == (row["victim"] == "a")


@pytest.mark.parametrize(("labels", "warned"), [(("no", "yes"), True), (("a", "b", "c", "d"), False), ((), False)])
def test_victims_that_guess_are_warned_of(tmp_path: Path, labels: tuple[str, ...], warned: bool) -> None:
    guesses = FakeCell(victim="guesses", examples=22, wrong=18, labels=labels)
    learnt = FakeCell(victim="learnt", examples=38, wrong=2, labels=labels)
    index = build_site([read_run(write_run(tmp_path / "run", [guesses, learnt]))], tmp_path / "site")
    rows: Any = shown_data(index)["sections"][0]["rows"]  # type: ignore[index]
    assert {row["victim"]: row["near_chance"] for row in rows} == {"guesses": warned, "learnt": False}
    assert ("Near chance: guesses · none (55.0%)." in index.read_text()) == warned


def test_the_page_counts_what_was_not_measured(tmp_path: Path) -> None:
    cells = [FakeCell(), FakeCell(seed=1, status="failed"), FakeCell(defense="at", round=3, status="skipped")]
    index = build_site([read_run(write_run(tmp_path / "run", cells, unfinished=2))], tmp_path / "site")
    assert "1 cell done, 1 failed, 1 skipped: beyond their budget, 2 unfinished" in index.read_text()


def test_forms_of_curves_are_shown_where_they_are_asked_for(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", [FakeCell(), FakeCell(attack="none", first_success=[0] * 40)]))
    plain, with_forms = (build_site([run], tmp_path / f"{forms}", forms=forms) for forms in (False, True))
    (page,) = (with_forms.parent / "entries").glob("*.html")
    text = page.read_text()
    table = text[text.index("Forms of the curves</caption>") :]
    (found,) = [each for attack, each in forms_of_cells(run.cells) if attack == "gcg"]
    places = [table.index(f"<td>{fitted.form.name}</td>") for fitted in found.forms]
    assert places == sorted(places)  # the chosen one first
    assert found.verdict in table
    assert parameter_text(found.forms[0].parameters[0]) in table
    assert "none: Not enough data: 0 of 40 attacked examples fell" in table
    assert "Forms of the curves" not in (plain.parent / "entries" / page.name).read_text()


def test_the_same_records_give_the_same_bytes(run: Run, tmp_path: Path) -> None:
    one, two = build_site([run], tmp_path / "one"), build_site([run], tmp_path / "two")
    for file in one.parent.rglob("*"):
        assert file.is_dir() or file.read_bytes() == (two.parent / file.relative_to(one.parent)).read_bytes()


def test_names_with_markup_are_text(tmp_path: Path) -> None:
    cells = [
        FakeCell(task=HOSTILE, victim=HOSTILE, defense=HOSTILE, attack=HOSTILE, threat=HOSTILE, judge=HOSTILE),
        FakeCell(task=HOSTILE, attack=HOSTILE, threat=HOSTILE, judge=HOSTILE, status="failed"),
    ]
    index = build_site([read_run(write_run(tmp_path / "run", cells, spec_name=HOSTILE))], tmp_path / "site")
    assert all("<script>alert" not in page.read_text() for page in index.parent.rglob("*.html"))
    assert shown_data(index)["sections"][0]["task"] == HOSTILE  # type: ignore[index]


def test_attack_strings_are_escaped_on_their_pages_and_nowhere_else(run: Run, tmp_path: Path) -> None:
    build_site([run], tmp_path / "site")
    files = [file for file in (tmp_path / "site").rglob("*") if file.is_file() and b"aa bb" in file.read_bytes()]
    files.remove(tmp_path / "site" / "downloads" / "strings.parquet")
    assert {file.parent.name for file in files} == {"entries"}
    assert all("&lt;b&gt;aa bb&lt;/b&gt;" in file.read_text() for file in files)
    assert all("<b>aa bb" not in file.read_text() for file in files)


def test_downloads_hold_the_standings_and_the_curves(run: Run, tmp_path: Path) -> None:
    index = build_site([run], tmp_path / "site")
    folder = index.parent / "downloads"
    rows = pq.read_table(folder / "standings.parquet").to_pylist()
    data: Any = shown_data(index)
    assert [row["id"] for row in rows] == [row["id"] for row in data["sections"][0]["rows"]]
    assert [row["breaking_compute"] for row in rows] == [r["breaking"]["compute"] for r in data["sections"][0]["rows"]]
    with (folder / "standings.csv").open() as file:
        assert [row["victim"] for row in csv.DictReader(file)] == [row["victim"] for row in rows]
    curves = pq.read_table(folder / "curves.parquet")
    points = [len(c["points"]["step"]) for row in data["sections"][0]["rows"] for c in row["curves"]]
    assert len(curves) == sum(points)


def test_downloads_say_what_the_numbers_leave_out(tmp_path: Path) -> None:
    cells = [FakeCell(), FakeCell(defense="slow", task_kind="text", silent=1, unparseable=1)]
    lacking = FakeCell(seed=1)
    run = read_run(write_run(tmp_path / "run", cells, planned=planned([*cells, lacking])))
    folder = build_site([run], tmp_path / "site").parent / "downloads"
    rows = {row["defense"]: row for row in pq.read_table(folder / "standings.parquet").to_pylist()}
    assert {name: row["excluded"] for name, row in rows.items()} == {
        "none": "2 already wrong",
        "slow": "2 already wrong",
    }
    assert {name: row["missing_cells"] for name, row in rows.items()} == {"none": 1, "slow": 0}
    assert [rows["slow"][name] > 0 for name in ("missing_answers", "unparseable")] == [True, True]
    assert [rows["none"][name] for name in ("missing_answers", "unparseable", "missing_clean")] == [0, 0, 0]
    assert [rows["none"][name] for name in ("clean_seeds", "clean_trials", "asr_seeds", "asr_trials")] == [1, 42, 1, 40]


def test_names_are_the_same_whatever_else_is_in_the_site(run: Run, tmp_path: Path) -> None:
    more = read_run(write_run(tmp_path / "more", [FakeCell(victim="another", hardness=12)]))
    one = build_site([run], tmp_path / "one").parent
    two = build_site([run, more], tmp_path / "two").parent
    pages = {page.name for page in (one / "entries").iterdir()}
    assert pages < {page.name for page in (two / "entries").iterdir()}


def test_a_site_is_replaced_and_nothing_else_is(run: Run, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    build_site([run], site)  # an empty folder will do
    (site / "index.html").write_text("old")
    assert "Robustness" in build_site([run], site).read_text()
    (site / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds 'notes\.txt'"):
        build_site([run], site)
    assert (site / "notes.txt").read_text() == "mine"
    with pytest.raises(DataError, match="not empty and not a leaderboard site"):
        build_site([run], tmp_path / "run")
    with pytest.raises(DataError, match="is a file"):
        build_site([run], site / "notes.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "site"]  # no leftovers


def test_a_build_that_fails_leaves_the_old_site(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = build_site([run], tmp_path / "site")
    before = index.read_bytes()

    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("leaderboard.site.site_folder._plotting_library", fail)
    with pytest.raises(DataError, match="No space left"):
        build_site([run], tmp_path / "site")
    assert index.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "site"]


def test_nothing_finished_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Not enough data"):
        build_site([read_run(write_run(tmp_path / "run", [], unfinished=1))], tmp_path / "site")


def test_a_wrong_target_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"target ASR 1\.5"):
        build_site([run], tmp_path / "site", 1.5)


def test_the_commands(tmp_path: Path) -> None:
    app = typer.Typer()
    harness_register_commands(app)
    run = write_run(tmp_path / "run", quickstart_cells(seeds=1, tasks=["word_length"]))
    call = ["leaderboard", "build", str(run), "--out", str(tmp_path / "site"), "--target-asr", "0.2"]
    result = CliRunner().invoke(app, call, catch_exceptions=False)
    assert result.exit_code == 0
    assert "index.html" in result.output
    assert "Compute to ASR 20%" in (tmp_path / "site" / "index.html").read_text()
    result = CliRunner().invoke(app, ["leaderboard", "show", str(run)], catch_exceptions=False)
    assert "adversarial_training " in result.output
    assert "round 4" in result.output
    result = CliRunner().invoke(app, ["fit", "attack-scaling", str(run), "--json"], catch_exceptions=False)
    assert len(json.loads(result.stdout)) == 18
    call = ["fit", "offense-defense", str(run), "--target-asr", "0.2", "--json"]
    fits = json.loads(CliRunner().invoke(app, call, catch_exceptions=False).stdout)
    assert {fit["defense"] for fit in fits} == {"adversarial_training"}
    assert all("Not enough data" in fit["note"] for fit in fits)  # two rounds, one seed
