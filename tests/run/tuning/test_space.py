"""The search space: derived from any attack's parameters by rule, narrowed by hand, wrong words told in one error."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from harness.api.attack import Attack
from harness.api.refs import PluginRef
from harness.errors import PluginError, RunError
from harness.registry.loader import load_plugins
from harness.registry.registry import Registry
from harness.run.tuning.derived_space import STEPS, derived_space
from harness.run.tuning.dimension import Choices, Dimension, Range
from harness.run.tuning.written_space import read_space, search_space


@cache
def registry() -> Registry:
    return load_plugins().registry


def maker(name: str, **params: Any) -> Any:
    def make(changes: Mapping[str, Any]) -> Attack:
        return registry().resolve("attack", PluginRef(name=name, params={**params, **changes})).plugin

    return make


def of(name: str, **params: Any) -> tuple[Attack, Any]:
    make = maker(name, **params)
    return make({}), make


def tunable() -> list[tuple[str, dict[str, Any]]]:
    """Built-in attacks whose required parameters a test can give."""
    found = []
    for entry in registry().entries("attack"):
        required = {name for name, info in entry.cls.Params.model_fields.items() if info.is_required()}
        required |= {"path"} if entry.name == "given_strings" else set()  # or the hash of its strings
        given_ = {"path": "strings.txt", "run": "runs/other", "attacker": "tiny", "judge": "tiny", "rater": "tiny"}
        params = {name: given_[name] for name in required if name in given_}
        if required <= set(params):
            found.append((entry.name, params))
    return found


def test_every_built_in_attack_is_among_those_tried() -> None:
    built_in = {entry.name for entry in registry().entries("attack")}
    assert {name for name, _ in tunable()} == built_in


def draw(data: st.DataObject, dimension: Dimension) -> Any:
    if isinstance(dimension, Choices):
        return data.draw(st.sampled_from(dimension.values))
    if dimension.integer:
        return data.draw(st.integers(int(dimension.low), int(dimension.high)))
    return dimension.rounded(data.draw(st.floats(dimension.low, dimension.high)))


@given(st.data())
def test_every_draw_is_accepted_by_its_attack(data: st.DataObject) -> None:
    name, params = data.draw(st.sampled_from(tunable()))
    attack, make = of(name, **params)
    space = derived_space(attack, make)
    values = {dimension.name: draw(data, dimension) for dimension in space}
    changed = make(values)
    assert all(getattr(changed.params, key) == value for key, value in values.items())
    assert changed.params.steps == attack.params.steps
    assert changed.group() == attack.group()


def test_the_space_of_gcg() -> None:
    attack, make = of("gcg")
    space = {dimension.name: dimension for dimension in derived_space(attack, make)}
    assert space["candidates"] == Range("candidates", 32, 512, True, True)
    assert space["swaps"] == Range("swaps", 1, 4, True, True)
    assert space["keep"] == Choices("keep", ("this_step", "best_so_far", "annealed"))
    assert space["momentum"] == Range("momentum", 0.0, 0.99, False, False)
    assert space["temperature"] == Range("temperature", 0.25, 4.0, False, True)
    # Steps are the budget's; one string for several examples is another attack; a first string has no range.
    assert not {STEPS, "prompts", "initial"} & set(space)


def test_a_range_lies_around_the_entry_s_own_value() -> None:
    attack, make = of("gcg", candidates=16)
    assert Range("candidates", 4, 64, True, True) in derived_space(attack, make)


@pytest.mark.parametrize(
    ("written", "dimension"),
    [
        ("candidates=16..256", Range("candidates", 16, 256, True, True)),
        ("candidates=60..70", Range("candidates", 60, 70, True, False)),
        ("candidates=64", Choices("candidates", (64,))),
        ("candidates=5..5", Choices("candidates", (5,))),
        ("candidates=8,16,16", Choices("candidates", (8, 16))),
        ("momentum=0..0.5", Range("momentum", 0, 0.5, False, False)),
        ("temperature=1e-2..1", Range("temperature", 0.01, 1, False, True)),
        ("prompts=1,2", Choices("prompts", (1, 2))),
        ("keep=annealed,best_so_far", Choices("keep", ("annealed", "best_so_far"))),
    ],
)
def test_what_is_written_takes_the_place_of_what_is_derived(written: str, dimension: Dimension) -> None:
    attack, make = of("gcg")
    space = search_space(attack, make, read_space([written]))
    assert [one for one in space if one.name == dimension.name] == [dimension]
    assert len(space) >= 8, "the others stay"


def test_a_file_says_the_same_and_models_are_tried_where_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(
        "candidates: 16..64\nprobe: [8, 16]\nmomentum: {low: 0.1, high: 0.9, log: true}\n"
        "draft: [{tiny: {size: 7k}}, tiny]\n"
    )
    attack, make = of("probe_gcg")
    space = {one.name: one for one in search_space(attack, make, read_space([str(tmp_path / "space.yaml"), "swaps=1"]))}
    assert space["candidates"] == Range("candidates", 16, 64, True, True)
    assert space["momentum"] == Range("momentum", 0.1, 0.9, False, True)
    assert space["draft"] == Choices("draft", ({"tiny": {"size": "7k"}}, "tiny"))
    assert space["swaps"] == Choices("swaps", (1,))


@pytest.mark.parametrize(
    ("name", "written", "message"),
    [
        ("gcg", "candidats=1..8", "gcg has no such parameter (did you mean 'candidates'?); known: alpha, candidates, "),
        ("gcg", "steps=1..8", "the budget per example sets the steps"),
        ("gcg", "candidates=9..8", "the range 9..8 is empty"),
        ("gcg", "candidates=0..8", "--space candidates: "),
        ("gcg", "candidates=1..2.5", "a range of whole numbers is LOW..HIGH"),
        ("gcg", "keep=1..3", "not a number, so it has no range; name its values: keep=a,b,c"),
        ("gcg", "keep=often", "--space keep: "),
        ("gcg", "keep=2024-01-01,annealed", "--space keep: date has no canonical JSON form; write texts in quotes"),
        ("gcg", "momentum=0.5..1", "--space momentum: "),
        ("gcg", "nowhere.yaml", "nowhere.yaml: cannot be read"),
        ("none", "", "none: nothing to tune, it has no parameters but steps"),
        ("prefill", "max_tokens=32", "prefill: nothing to tune; name what to try: --space NAME=a,b,c, of "),
    ],
)
def test_one_error_says_what_is_wrong_with_a_space(name: str, written: str, message: str) -> None:
    attack, make = of(name)
    with pytest.raises(RunError) as raised:
        search_space(attack, make, read_space([written] if written else []))
    assert message in str(raised.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "candidates: {low: 1\n", "3: 4\n"])
def test_a_file_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(RunError, match=r"space\.yaml"):
        read_space([str(tmp_path / "space.yaml")])


def test_a_range_in_a_file_needs_both_ends(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("candidates: {low: 3}\n")
    attack, make = of("gcg")
    with pytest.raises(RunError, match=r"a range is \{low: 1, high: 8\}"):
        search_space(attack, make, read_space([str(tmp_path / "space.yaml")]))


@given(st.floats(1e-6, 1e6), st.floats(1.01, 1e3), st.floats(0, 1))
def test_a_rounded_number_stays_in_its_range(low: float, factor: float, at: float) -> None:
    dimension = Range("x", low, low * factor, False, True)
    value = dimension.rounded(low * factor**at)
    assert value in dimension
    assert isinstance(value, float)


def test_what_an_attack_refuses_is_an_error_of_its_own() -> None:
    with pytest.raises(PluginError):
        maker("gcg")({"candidates": 0})
