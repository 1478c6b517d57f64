"""A cell's key changes with whatever can change its numbers, and with nothing else."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings, strategies as st

from harness.errors import PluginError
from harness.registry.loader import load_plugins
from harness.registry.registry import Registry
from harness.run.prepare.keys import Keys
from harness.spec.load import load_spec
from tests.run.runs import KIT

SPEC: dict[str, Any] = {
    "name": "keys",
    "version": "1",
    "tasks": [{"word_length": {"train_size": 500}}],
    "victims": [{"tiny": {"size": "7k", "steps": 30}}],
    "defenses": ["none"],
    "attacks": [{"gcg": {"steps": 6}}],
    "threats": [{"tokens": 5}],
    "seeds": [0],
    "examples": 16,
    "clean_examples": 40,
}
TRAINED = {"adversarial_training": {"rounds": 3, "attack": {"gcg": {"candidates": 16}}}}
HASH, FINGERPRINT = "d" * 64, {"config.json": "f"}


@lru_cache
def registry() -> Registry:
    return load_plugins([KIT / "defense.py"]).registry


def keys(folder: Path, spec: dict[str, Any], data: str = HASH, model: dict[str, str] = FINGERPRINT) -> list[Keys]:
    """The keys of all cells of a spec, as if its data had that hash."""
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    return [Keys(cell, data, model) for cell in load_spec(path, registry()).cells]


def changed(path: tuple[Any, ...], value: Any, spec: dict[str, Any] = SPEC) -> dict[str, Any]:
    """The spec with one thing in it replaced or added."""
    new = copy.deepcopy(spec)
    at: Any = new
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return new


COUNTS = [
    (("tasks", 0, "word_length", "train_size"), 501),
    (("tasks", 0, "word_length", "instructions"), "Which?"),
    (("tasks", 0), "password_match"),
    (("victims", 0, "tiny", "steps"), 31),
    (("victims", 0, "tiny", "size"), "26k"),
    (("victims", 0, "tiny", "filler"), 0.2),
    (("attacks", 0, "gcg", "steps"), 7),
    (("attacks", 0, "gcg", "candidates"), 17),
    (("attacks", 0, "gcg", "topk"), 17),
    (("attacks", 0, "gcg", "keep"), "best_so_far"),
    (("attacks", 0), {"random_token": {"steps": 6}}),
    (("threats", 0, "tokens"), 6),
    (("threats", 0, "position"), "prefix"),
    (("threats", 0, "position"), 0.5),
    (("defenses", 0), TRAINED),
    (("defenses", 0), "lower_case"),
    (("defenses", 0), "longest_word"),
    (("defenses", 0), {"longest_word": {"slack": 3}}),
    (("seeds", 0), 1),
    (("examples",), 17),
    (("clean_examples",), 41),
    (("stop_on_success",), True),
    (("diagnostics",), "light"),  # which a record holds
    (("diagnostics",), "off"),
]


def test_whatever_can_change_a_number_changes_the_key(tmp_path: Path) -> None:
    found = [keys(tmp_path, SPEC)[0].cell]
    found += [keys(tmp_path, changed(path, value))[-1].cell for path, value in COUNTS]
    found += [keys(tmp_path, SPEC, data="e" * 64)[0].cell, keys(tmp_path, SPEC, model={})[0].cell]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "change",
    [
        (("name",), "another"),
        (("version",), "2"),
        (("summary",), "for people"),
        (("target_asr",), 0.9),
        (("attacks", 0), {"name": "gcg", "params": {"steps": 6}}),
        (("attacks", 0, "gcg", "candidates"), 128),  # the default
        (("threats", 0, "position"), "suffix"),
        (("exclude",), [{"seed": 7}]),
        (("diagnostics",), "full"),  # the default
    ],
    ids=lambda change: str(change[0]),
)
def test_what_cannot_change_a_number_leaves_the_key(tmp_path: Path, change: tuple[Any, Any]) -> None:
    spec = changed(*change)
    if "exclude" in spec:
        spec["seeds"] = [0, 7]
    assert keys(tmp_path, spec)[0].cell == keys(tmp_path, SPEC)[0].cell


def test_diagnostics_change_no_search(tmp_path: Path) -> None:
    found = {keys(tmp_path, changed(("diagnostics",), extent))[0].search for extent in ("off", "light", "full")}
    assert found == {keys(tmp_path, SPEC)[0].search}


def test_paths_and_devices_leave_the_key(tmp_path: Path) -> None:
    victim = {"huggingface": {"model": "pythia-14m", "device": "cpu"}}
    try:
        first = keys(tmp_path, changed(("victims", 0), victim))
    except PluginError as error:  # the test is about `device`, whatever else the victim asks for
        pytest.skip(str(error))
    second = keys(tmp_path, changed(("victims", 0, "huggingface", "device"), "cuda", changed(("victims", 0), victim)))
    assert first[0].cell == second[0].cell
    table = {"path": "a.csv", "text_column": "t", "label_column": "l", "labels": ["x", "y"]}
    here, there = (changed(("tasks", 0), {"text_classification": table | {"path": p}}) for p in ("a.csv", "b/c.csv"))
    assert keys(tmp_path, here)[0].cell == keys(tmp_path, there)[0].cell


def test_other_cells_of_the_spec_leave_the_key(tmp_path: Path) -> None:
    alone = keys(tmp_path, SPEC)[0].cell
    more = SPEC | {
        "attacks": [{"random_token": {}}, *SPEC["attacks"]],
        "seeds": [3, 0],
        "defenses": [TRAINED, "none"],
    }
    assert alone in {each.cell for each in keys(tmp_path, more)}


@pytest.mark.parametrize("kind", ["task", "victim", "attack", "judge"])
@pytest.mark.parametrize("field", ["distribution", "version", "results_version"])
def test_another_version_of_a_plugin_changes_the_key(tmp_path: Path, kind: str, field: str) -> None:
    """But not a release that gives the same numbers."""
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    (cell,) = load_spec(path, registry()).cells
    other = replace(cell, **{kind: replace(getattr(cell, kind), **{field: "other"})})
    if field == "version":
        assert Keys(cell, HASH, FINGERPRINT).cell == Keys(other, HASH, FINGERPRINT).cell
        other = replace(cell, **{kind: replace(getattr(cell, kind), version="other", results_version="")})
    assert Keys(cell, HASH, FINGERPRINT).cell != Keys(other, HASH, FINGERPRINT).cell
    same_model = Keys(cell, HASH, FINGERPRINT).victim == Keys(other, HASH, FINGERPRINT).victim
    assert same_model == (kind != "victim")


def trained(folder: Path, **params: Any) -> list[Keys]:
    defense = {"adversarial_training": TRAINED["adversarial_training"] | params}
    return keys(folder, changed(("defenses", 0), defense))


def test_more_rounds_keep_the_earlier_ones(tmp_path: Path) -> None:
    short, long, last = trained(tmp_path), trained(tmp_path, rounds=5), trained(tmp_path, evaluate="last")
    assert [k.cell for k in long[:3]] == [k.cell for k in short]
    assert long[4].rounds[:3] == short[2].rounds
    assert last[0].cell == short[2].cell
    assert len({k.cell for k in long}) == 5
    assert len(set(long[4].rounds)) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"attacked_per_round": 10},
        {"examples_per_round": 10},
        {"learning_rate": 1e-4},
        {"decay": 0.1},
        {"attack": {"gcg": {"candidates": 17}}},
        {"attack": {"random_token": {}}},
        {"strength": {"start": 9}},
    ],
    ids=str,
)
def test_what_trains_a_round_changes_all_of_them(tmp_path: Path, change: dict[str, Any]) -> None:
    before, after = trained(tmp_path), trained(tmp_path, **change)
    assert not set(before[2].rounds) & set(after[2].rounds)
    assert before[0].victim == after[0].victim


def test_a_later_rounds_strength_leaves_the_earlier(tmp_path: Path) -> None:
    steep = {"start": 8, "end": 80, "rounds": 73}  # 8, 9, 10, … instead of 8, 9, 10 only up to round 2
    flat = {"start": 8, "end": 9, "rounds": 2}
    one, two = trained(tmp_path, strength=steep), trained(tmp_path, strength=flat)
    assert [a.cell == b.cell for a, b in zip(one, two, strict=True)] == [True, True, False]


def test_a_trained_defense_knows_its_threat_and_seed(tmp_path: Path) -> None:
    spec = changed(("defenses", 0), TRAINED) | {"threats": [{"tokens": 5}, {"tokens": 6}], "seeds": [0, 1]}
    assert len({each.weights for each in keys(tmp_path, spec)}) == 3 * 2 * 2
    undefended = SPEC | {"threats": [{"tokens": 5}, {"tokens": 6}], "seeds": [0, 1]}
    assert len({each.weights for each in keys(tmp_path, undefended)}) == 2, "the victim itself knows no threat"


NUMBERS = st.fixed_dictionaries(
    {},
    optional={
        "steps": st.integers(1, 5),
        "candidates": st.integers(1, 5),
        "topk": st.integers(1, 5),
        "keep": st.sampled_from(["this_step", "best_so_far"]),
    },
)


@settings(deadline=None, max_examples=40)
@given(NUMBERS, NUMBERS)
def test_keys_are_equal_exactly_when_parameters_are(
    tmp_path_factory: pytest.TempPathFactory, one: dict[str, Any], two: dict[str, Any]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    default = {"steps": 10, "candidates": 128, "topk": 256, "keep": "this_step"}
    first, second = (keys(folder, changed(("attacks", 0), {"gcg": params}))[0].cell for params in (one, two))
    assert (first == second) == (default | one == default | two)
