"""Latent attacks stand apart; answers in text are worded as what they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.records.cell_manifest import DefenseFacts
from harness.records.read import read_run
from leaderboard.data.comparable_cells import sections
from leaderboard.site.build import build_site
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run

TEXT = FakeCell(
    task="behaviors", task_kind="text", judge="llm_judge", examples=4, wrong=1, steps=3, first_success=[0] * 4
)


def test_latent_attacks_are_never_beside_text_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [FakeCell(), FakeCell(attack="random_token", hardness=10.8)]
    cells.append(FakeCell(attack="pgd", space="latent", hardness=8))
    run = write_run(tmp_path / "run", cells)
    text, latent = standings([read_run(run)])
    (row,), (other,) = text.rows, latent.rows
    assert [curve.attack for curve in row.curves] == ["gcg", "random_token"]
    assert row.worst_case is not None
    assert row.worst_case.attacks == ("gcg", "random_token")
    assert row.strongest is not None
    assert row.strongest.attack == "gcg"
    assert [curve.attack for curve in other.curves] == ["pgd"]
    assert (text.section.scope.notice, latent.section.scope.notice[:49]) == (
        "",
        "Latent space: not comparable with text attacks. T",
    )
    assert "what the attacks change" in text.section.separation
    assert main(["leaderboard", "show", str(run)]) == 0
    assert capsys.readouterr().out.count("Latent space: not comparable with text attacks") == 1
    assert "Latent space: not comparable" in build_site([read_run(run)], tmp_path / "site").read_text()


@pytest.mark.parametrize("space", ["text", "latent"])
def test_a_failed_latent_cell_is_listed_once(space: str, tmp_path: Path) -> None:
    cells = [FakeCell(), FakeCell(attack="pgd", space="latent")]
    failed = FakeCell(attack="pgd", space=space, seed=1, status="failed", data_hash="")
    found = sections([read_run(write_run(tmp_path / "run", [*cells, failed]))])
    assert {s.scope.space: len(s.failed) for s in found} == {
        "text": int(space == "text"),
        "latent": int(space == "latent"),
    }


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (FakeCell(), "clean accuracy"),
        (TEXT, "refused when clean"),
        (FakeCell(task_kind="text", benign=True), "answered when clean"),
    ],
)
def test_what_clean_means(cell: FakeCell, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", [cell])
    (table,) = standings([read_run(run)])
    (row,) = table.rows
    assert row.clean is not None
    assert row.clean.value == pytest.approx(cell.examples / (cell.examples + cell.wrong))
    page = build_site([read_run(run)], tmp_path / "site").read_text()
    assert f'data-column="clean">{words.capitalize()} ' in page
    assert json.loads((tmp_path / "site" / "data.json").read_text())["sections"][0]["clean"] == words
    assert main(["leaderboard", "show", str(run)]) == 0
    head = capsys.readouterr().out
    assert words in head
    others = {"clean accuracy", "refused when clean", "answered when clean"} - {words}
    assert not any(other in head for other in others)


def test_a_cell_where_nothing_was_attacked_does_not_change_the_words(tmp_path: Path) -> None:
    benign = FakeCell(task_kind="text", benign=True)
    empty = FakeCell(task_kind="text", victim="refuses all", examples=0, first_success=[])
    (table,) = standings([read_run(write_run(tmp_path / "run", [benign, empty]))])
    assert table.section.clean_measure == "answered when clean"


def test_of_mixed_prompts_the_words_do_not_depend_on_which_were_left_to_be_attacked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A defense that answers all harmful prompts when clean leaves the harmless ones."""
    more = {"defense_facts": DefenseFacts(benign_clean=2, over_refused=0).model_dump(mode="json")}
    cells = [replace(TEXT, more=more), replace(TEXT, defense="weak", benign=True, more=more)]
    run = write_run(tmp_path / "run", cells)
    (table,) = standings([read_run(run)])
    assert (table.section.clean_measure, table.section.asks_benign, table.section.shows_utility) == (
        "clean accuracy",
        False,
        False,
    )
    build_site([read_run(run)], tmp_path / "site")
    notes = (tmp_path / "site" / "about.html").read_text()
    assert 'id="term-answered"' in notes
    assert main(["leaderboard", "show", str(run)]) == 0
    head = capsys.readouterr().out
    assert "harmful" in head
    assert "harmless" not in head.partition("spec ")[0]


@pytest.mark.parametrize(("unparseable", "words"), [(0, ""), (2, "8 answers could not be judged")])
def test_answers_that_could_not_be_judged(
    unparseable: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = FakeCell(**{**vars(TEXT), "unparseable": unparseable})
    run = write_run(tmp_path / "run", [cell])
    page = build_site([read_run(run)], tmp_path / "site").read_text()
    assert main(["leaderboard", "show", str(run)]) == 0
    shown = capsys.readouterr().out
    for text in (page, shown):
        assert ("could not be judged" in text) == bool(words)
        assert words in text
