"""Errata: notes that are read, and mistakes in the file that are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import DataError
from harness.records.read import read_run
from leaderboard.others.errata import read_errata
from leaderboard.others.of_rows import Others
from leaderboard.site.site_data import payload
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run


def written(folder: Path, text: str) -> Path:
    (folder / "errata.yaml").write_text(text, encoding="utf-8")
    return folder / "errata.yaml"


def test_rows_of_a_withdrawn_spec_stay_and_are_marked(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", [FakeCell(), FakeCell(attack="random_token")]))
    spec = f"{run.cells[0].record.spec_name} {run.cells[0].record.spec_version}"
    text = f"- {{spec: {spec}, date: 2026-02-01, wrong: The labels were swapped., follows: withdrawn}}\n"
    errata = read_errata(
        written(tmp_path, text + "- {entry: other, date: 2026-02-02, wrong: nothing, follows: note}\n")
    )
    plain, noted = standings([run]), standings([run], others=Others(errata=errata))
    (row,) = noted[0].rows
    assert row.others.withdrawn
    assert (row.asr, row.rank, row.cost_to_break) == (
        plain[0].rows[0].asr,
        plain[0].rows[0].rank,
        plain[0].rows[0].cost_to_break,
    )
    told = payload([run], noted)["sections"][0]["rows"][0]
    assert "withdrawn" in told["marks"]
    assert [note["wrong"] for note in told["others"]["errata"]] == ["The labels were swapped."]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "holds no list"),
        ("- {entry: a, date: 2026-02-01, follows: note}", "note 1: wrong: Field required"),
        ("- {entry: a, claim: b, date: 2026-02-01, wrong: x, follows: note}", "give one of entry, claim and spec"),
        ("- {date: 2026-02-01, wrong: x, follows: note}", "give one of entry, claim and spec"),
        ("- {entry: a, date: soon, wrong: x, follows: note}", "note 1: date"),
        ("- {entry: a, date: 2026-02-01, wrong: x, follows: deleted}", "note 1: follows"),
        ("- [", "cannot be read as YAML"),
        ("- !!python/object/apply:os.system [x]", "cannot be read as YAML"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read_errata(written(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 1


def test_no_file_is_no_note(tmp_path: Path) -> None:
    assert read_errata(None) == read_errata(written(tmp_path, "")) == ()
    with pytest.raises(DataError, match="cannot be read"):
        read_errata(tmp_path / "missing.yaml")
