"""The spec of a claim: the entry's, with the strings in the place of its attacks, and one row's cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import DataError
from harness.registry.loader import load_plugins
from harness.replay.other_attack import RowLabels, row_of_cell, with_other_attack
from harness.spec.load import LoadedSpec, load_spec
from tests.run.runs import TINY

GIVEN = {"steps": 2, "sha256": "a" * 64}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> LoadedSpec:
    path = tmp_path_factory.mktemp("spec") / "tiny.yaml"
    kept = "exclude:\n  - {defense: none, seed: 1}\n  - {attack: gcg, defense: adversarial_training}\n"
    path.write_text(TINY + kept, encoding="utf-8")
    return load_spec(path, load_plugins().registry)


def test_the_cells_of_one_row_with_the_strings_alone(spec: LoadedSpec) -> None:
    registry = load_plugins().registry
    rows = dict.fromkeys(row_of_cell(cell) for cell in spec.cells)
    assert [row.round for row in rows] == [None, 1, 2]
    for row in rows:
        made = with_other_attack(spec, "given_strings", GIVEN, row, registry)
        own = [cell for cell in spec.cells if row_of_cell(cell) == row]
        assert {cell.attack.name for cell in made.cells} == {"given_strings"}
        assert {cell.seed for cell in made.cells} == {cell.seed for cell in own}  # what is excluded stays so
        assert {row_of_cell(cell) for cell in made.cells} == {row}
        for field in ("victim", "defense", "judge", "task"):
            assert {getattr(cell, field).identity()["name"] for cell in made.cells} == {
                getattr(cell, field).identity()["name"] for cell in own
            }
        assert made.hash == with_other_attack(spec, "given_strings", GIVEN, next(iter(rows)), registry).hash
        assert made.hash != spec.hash


def test_where_the_strings_lie_does_not_count(spec: LoadedSpec, tmp_path: Path) -> None:
    registry, row = load_plugins().registry, row_of_cell(spec.cells[0])
    here = with_other_attack(spec, "given_strings", {**GIVEN, "path": str(tmp_path / "s.jsonl")}, row, registry)
    assert here.hash == with_other_attack(spec, "given_strings", GIVEN, row, registry).hash


def test_a_row_that_the_spec_does_not_make(spec: LoadedSpec) -> None:
    row = row_of_cell(spec.cells[0])
    other = RowLabels(row.task, row.threat, row.victim, row.defense, 7)
    with pytest.raises(DataError, match=r"no row .*round 7.* in spec tiny-run"):
        with_other_attack(spec, "given_strings", GIVEN, other, load_plugins().registry)
