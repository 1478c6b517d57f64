"""An entry of `attacks` that says what search its parameters come from: keys, labels, hashes, mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.registry.loader import load_plugins
from harness.registry.registry import Registry
from harness.run.prepare.resolved_cell import CellResolver
from harness.spec.fields import AttackEntry
from harness.spec.load import LoadedSpec, load_spec
from harness.spec.spec_problems import InvalidSpecError

TUNED = "{flops: 1.0e+12, per_example: 5000000000, examples: 16, trials: 9, key: 0123456789abcdef}"
SPEC = """
name: s
version: "1"
tasks: [word_length]
victims: [tiny]
attacks: [ATTACK]
examples: 4
"""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_plugins().registry


def spec(folder: Path, registry: Registry, attack: str, more: str = "") -> LoadedSpec:
    (folder / "s.yaml").write_text(SPEC.replace("ATTACK", attack) + more)
    return load_spec(folder / "s.yaml", registry)


def test_it_is_told_in_label_and_record_and_changes_no_search(tmp_path: Path, registry: Registry) -> None:
    resolver = CellResolver(registry)
    plain, tuned = (
        spec(tmp_path, registry, attack)
        for attack in ("{gcg: {candidates: 32}}", f"{{gcg: {{candidates: 32}}, tuned: {TUNED}}}")
    )
    keys = [resolver.resolve(one.cells[0]).keys for one in (plain, tuned)]
    assert keys[0].search == keys[1].search, "the strings are the same"
    assert keys[0].cell != keys[1].cell, "the cost is another"
    assert plain.hash != tuned.hash
    assert (plain.cells[0].attack.label, tuned.cells[0].attack.label) == ("gcg", "gcg, tuned")
    assert tuned.cells[0].tuned is not None
    assert tuned.cells[0].tuned.flops == 1e12
    assert plain.cells[0].tuned is None


def test_keys_and_hashes_without_it_are_those_of_before_there_was_any(tmp_path: Path, registry: Registry) -> None:
    found = spec(tmp_path, registry, "gcg")
    assert "tuned" not in str(found.identity)
    assert found.spec.attacks[0].model_dump(mode="json") == "gcg"


@pytest.mark.parametrize(
    "written",
    [
        "gcg",
        {"gcg": {"candidates": 3}},
        {"name": "gcg", "params": {"candidates": 3}},
        {"gcg": None, "tuned": {"flops": 1, "per_example": 1, "examples": 1, "trials": 1, "key": "0" * 8}},
        {"name": "gcg", "tuned": {"flops": 1, "per_example": 1, "examples": 1, "trials": 1, "key": "0" * 8}},
    ],
)
def test_an_entry_reads_back_as_it_is_written(written: Any) -> None:
    entry = AttackEntry.model_validate(written, strict=True)
    again = AttackEntry.model_validate(entry.model_dump(mode="json"), strict=True)
    assert (again.name, again.params, again.tuned) == (entry.name, entry.params, entry.tuned)


def test_exclude_means_it_as_any_other(tmp_path: Path, registry: Registry) -> None:
    found = spec(
        tmp_path,
        registry,
        f"random_token, {{gcg: {{candidates: 32}}, tuned: {TUNED}}}",
        "exclude: [{attack: {gcg: {candidates: 32}}}]\n",
    )
    assert [cell.attack.name for cell in found.cells] == ["random_token"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("trials: 9", "trails: 9"), "attacks[0].tuned.trails: unknown field (did you mean 'trials'?)"),
        (("flops: 1.0e+12", "flops: 0"), "attacks[0].tuned.flops: should be greater than 0, not 0"),
        (("flops: 1.0e+12", "flops: .inf"), "attacks[0].tuned.flops: infinity and NaN are not allowed"),
        ((", trials: 9", ""), "attacks[0].tuned.trials: is required; add it"),
        ((TUNED, "yes please"), "attacks[0].tuned: should be a mapping of fields, not 'yes please'"),
        (("tuned:", "tunde:"), "attacks[0]: expected one plugin here, but found the keys 'gcg', 'tunde'"),
        (("candidates", "candidats"), "attacks[0].gcg.candidats: unknown parameter (did you mean 'candidates'?)"),
    ],
)
def test_mistakes_are_named(change: tuple[str, str], message: str, tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(InvalidSpecError) as raised:
        spec(tmp_path, registry, f"{{gcg: {{candidates: 32}}, tuned: {TUNED}}}".replace(*change))
    assert message in str(raised.value)
