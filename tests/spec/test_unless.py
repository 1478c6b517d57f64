"""`unless` in `exclude`: what an entry leaves out, but for these."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.registry.loader import load_plugins
from harness.spec.load import LoadedSpec, load_spec
from harness.spec.spec_problems import InvalidSpecError

BASE = """\
name: folder/q
version: "1"
tasks: [password_match]
victims: [&small {tiny: {size: 7k}}, &large {tiny: {size: 26k}}]
attacks: [random_token, &gcg {gcg: {steps: 4}}]
seeds: [0, 1]
exclude:
"""


def loaded(tmp_path: Path, *entries: str) -> LoadedSpec:
    path = tmp_path / "x.yaml"
    path.write_text(BASE + "".join(f"- {entry}\n" for entry in entries))
    return load_spec(path, load_plugins().registry)


def cells(spec: LoadedSpec) -> set[tuple[str, str, int]]:
    return {(cell.victim.plugin.params.size, cell.attack.name, cell.seed) for cell in spec.cells}


def test_unless_keeps_part_of_what_is_left_out(tmp_path: Path) -> None:
    everything = {(size, name, seed) for size in ("7k", "26k") for name in ("random_token", "gcg") for seed in (0, 1)}
    found = cells(loaded(tmp_path, "{seed: 1, unless: [{victim: *small, attack: *gcg}, {attack: random_token}]}"))
    assert found == everything - {("26k", "gcg", 1)}
    only = cells(loaded(tmp_path, "{unless: [{victim: *large, seed: 0}]}"))  # alone it says what there is
    assert only == {("26k", "random_token", 0), ("26k", "gcg", 0)}
    both = cells(loaded(tmp_path, "{seed: 1, unless: [{victim: *small}]}", "{attack: *gcg, seed: 1}"))
    assert both == {cell for cell in everything if cell[2] == 0} | {("7k", "random_token", 1)}


def test_unless_counts_for_the_hash(tmp_path: Path) -> None:
    one = loaded(tmp_path, "{seed: 1, unless: [{victim: *small}]}")
    other = loaded(tmp_path, "{seed: 1, unless: [{victim: *large}]}")
    assert one.hash != other.hash
    assert loaded(tmp_path, "{seed: 1, unless: []}").hash != one.hash


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            "{seed: 1, unless: [{seed: 0}]}",
            r"x\.yaml:8: exclude\[0\]\.unless\[0\]: is not among what this entry "
            r"leaves",
        ),
        ("{seed: 1, unless: [{seed: 1}]}", r"exclude\[0\]\.unless: keeps all that this entry leaves out"),
        ("{seed: 1, unless: [{seed: 7}]}", r"exclude\[0\]\.unless\[0\]\.seed: no cell has seed 7, so nothing is kept"),
        ("{seed: 1, unless: [{attack: gcgg}]}", r"unless\[0\]\.attack: no attack of this spec is called 'gcgg'"),
        ("{seed: 1, unless: [{}]}", r"exclude\[0\]\.unless\[0\]: would keep everything"),
        ("{seed: 1, unless: [{atack: gcg}]}", r"unless\[0\]\.atack: unknown field"),
        ("{seed: 1, unless: [{attack: [gcg]}]}", r"exclude\[0\]\.unless\[0\]\.attack: write a plugin's name"),
    ],
)
def test_what_keeps_nothing_is_a_mistake(tmp_path: Path, entry: str, words: str) -> None:
    with pytest.raises(InvalidSpecError, match=words):
        loaded(tmp_path, entry)
