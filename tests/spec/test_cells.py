"""The product, what `exclude` takes from it, and what the hash depends on."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings, strategies as st

from harness.hashing import canonical_json, content_key
from harness.registry.registry import Registry
from harness.spec.cells import CellSpec
from harness.spec.fields import Spec
from harness.spec.load import load_spec
from tests.spec.conftest import Load
from tests.spec.toys import cells_of, toy_registry

REGISTRY = toy_registry()

FULL = """
name: quickstart
version: "1"
summary: everything at once
seeds: [0, 1]
tasks:
  - word_length
  - word_length: {size: 50}
victims:
  - tiny: {size: s}
  - tiny: {size: m}
defenses:
  - none
  - adversarial_training: {rounds: 3, attack: {gcg: {steps: 4}}}
attacks: [random_token, {gcg: {steps: 16}}]
threats:
  - {position: suffix, tokens: 10, access: gradient}
exclude:
  - {task: {word_length: {size: 100}}, victim: {tiny: {size: m}}, seed: 1}
  - {defense: adversarial_training, round: 2}
judge: wrong_label
examples: 32
clean_examples: 256
stop_on_success: false
target_asr: 0.5
"""


def test_product_less_exclude_in_order(load: Load) -> None:
    cells = load(FULL).cells
    seen = [
        (c.task.plugin.params.size, c.victim.plugin.params.size, c.defense.name, c.round, c.attack.name, c.seed)
        for c in cells
    ]
    variants = [("none", None), *(("adversarial_training", n) for n in (1, 2, 3))]
    expected = [
        (task, victim, *variant, attack, seed)
        for task, victim, variant, attack, seed in itertools.product(
            (100, 50), ("s", "m"), variants, ("random_token", "gcg"), (0, 1)
        )
        if not (task == 100 and victim == "m" and seed == 1) and variant != ("adversarial_training", 2)
    ]
    assert seen == expected
    assert (cells[0].examples, cells[0].clean_examples, cells[0].stop_on_success) == (32, 256, False)
    assert cells[0].judge.name == "wrong_label"


def test_defaults(load: Load) -> None:
    loaded = load("name: a\nversion: '1'\ntasks: [word_length]\nvictims: [tiny]\nattacks: [gcg]\n")
    (cell,) = loaded.cells
    assert (cell.defense.name, cell.judge.name, cell.seed, cell.round) == ("none", "wrong_label", 0, None)
    assert cell.threat.label() == "suffix, 10 tokens, gradient"
    assert loaded.spec.target_asr == 0.5


def test_an_attack_may_be_excluded_where_access_is_too_low(load: Load) -> None:
    text = """
name: a
version: "1"
tasks: [word_length]
victims: [tiny]
attacks: [gcg, random_token]
threats: [{access: gradient}, {access: scores}]
exclude: [{attack: gcg, threat: {access: scores}}]
"""
    assert [(c.attack.name, c.threat.access) for c in load(text).cells] == [
        ("gcg", "gradient"),
        ("random_token", "gradient"),
        ("random_token", "scores"),
    ]


def test_exclude_matches_a_plugin_whose_required_parameters_it_does_not_name(load: Load) -> None:
    text = """
name: a
version: "1"
tasks: [{table: {path: a.csv}}, word_length]
victims: [tiny]
attacks: [gcg]
exclude: [{task: table}]
"""
    assert [cell.task.name for cell in load(text).cells] == ["word_length"]


def test_paths_count_from_the_folder_of_the_spec(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "specs").mkdir()
    text = (
        "name: a\nversion: '1'\nvictims: [tiny]\nattacks: [gcg]\n"
        "tasks: [{table: {path: ../a.csv}}, {table: {path: /b.csv}}]\n"
    )
    (tmp_path / "specs" / "x.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    loaded = load_spec("specs/x.yaml", registry)
    assert [c.task.plugin.params.path for c in loaded.cells] == [tmp_path / "specs" / "../a.csv", Path("/b.csv")]
    assert "a.csv" not in canonical_json(loaded.identity)
    spec = Spec.model_validate({**yaml.safe_load(text)})
    assert cells_of(spec, registry)[0].task.plugin.params.path == Path("../a.csv")  # no file, so as it is written


def _data(cell: CellSpec) -> Any:
    """A cell as data that can be compared (plugin instances cannot)."""
    plugins = [chosen.identity() for chosen in (cell.task, cell.victim, cell.defense, cell.attack, cell.judge)]
    return [*plugins, cell.threat, cell.seed, cell.round]


_AXES: dict[str, list[Any]] = {
    "tasks": ["word_length", {"word_length": {"size": 50}}],
    "victims": [{"tiny": {"size": size, "width": width}} for size in "sml" for width in (1, 2)],
    "defenses": ["none", {"adversarial_training": {"rounds": 2}}],
    "attacks": ["random_token", "gcg"],
    "threats": [{"position": "suffix"}, {"position": 0.5}, {"tokens": 3}],
    "seeds": [0, 1, 2],
}


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    data: dict[str, Any] = {"name": "a", "version": "1"}
    for field, values in _AXES.items():
        data[field] = draw(st.lists(st.sampled_from(values), min_size=1, unique_by=repr))
    return data


@given(specs(), st.data())
@settings(max_examples=150, deadline=None)
def test_cells_are_the_product_less_what_matches(data: dict[str, Any], choices: st.DataObject) -> None:
    everything = cells_of(Spec.model_validate(data), REGISTRY)
    size = sum(2 if defense != "none" else 1 for defense in data["defenses"])
    for field in ("tasks", "victims", "attacks", "threats", "seeds"):
        size *= len(data[field])
    assert len(everything) == size

    exclude: dict[str, Any] = {"seed": choices.draw(st.sampled_from(data["seeds"]))}
    victim = choices.draw(st.sampled_from(data["victims"]))["tiny"]
    given_params = {k: v for k, v in victim.items() if choices.draw(st.booleans())}
    if choices.draw(st.booleans()):
        exclude["victim"] = {"tiny": given_params}
    if choices.draw(st.booleans()):
        exclude["attack"] = choices.draw(st.sampled_from(data["attacks"]))
    if data["defenses"] != ["none"] and choices.draw(st.booleans()):
        exclude["round"] = choices.draw(st.sampled_from([1, 2]))

    def matches(cell: Any) -> bool:
        params = cell.victim.plugin.params
        return (
            cell.seed == exclude["seed"]
            and ("victim" not in exclude or all(getattr(params, k) == v for k, v in given_params.items()))
            and cell.attack.name == exclude.get("attack", cell.attack.name)
            and cell.round == exclude.get("round", cell.round)
        )

    left = [cell for cell in everything if not matches(cell)]
    if left:
        found = cells_of(Spec.model_validate({**data, "exclude": [exclude]}), REGISTRY)
        assert [_data(cell) for cell in found] == [_data(cell) for cell in left]


def _shuffled(data: Any, shuffle: Any) -> Any:
    if isinstance(data, dict):
        keys = list(data)
        shuffle(keys)
        return {key: _shuffled(data[key], shuffle) for key in keys}
    return [_shuffled(item, shuffle) for item in data] if isinstance(data, list) else data


@given(st.randoms(use_true_random=False), st.booleans(), st.text("ab \n", max_size=20))
@settings(max_examples=60, deadline=None)
def test_hash_does_not_depend_on_how_it_is_written(
    tmp_path_factory: pytest.TempPathFactory, random: Any, flow: bool, comment: str
) -> None:
    folder = tmp_path_factory.mktemp("hash")
    (folder / "a.yaml").write_text(FULL)
    data = _shuffled({**yaml.safe_load(FULL), "summary": comment}, random.shuffle)
    text = json.dumps(data) if flow else yaml.safe_dump(data, sort_keys=False)
    (folder / "b.yaml").write_text("".join(f"# {line}\n" for line in comment.split("\n")) + text)
    first, second = (load_spec(folder / name, REGISTRY) for name in ("a.yaml", "b.yaml"))
    assert first.hash == second.hash
    assert [_data(cell) for cell in first.cells] == [_data(cell) for cell in second.cells]


def test_hash_depends_on_every_parameter(load: Load, tmp_path: Path) -> None:
    changes = [
        ("quickstart", "slowstart"),
        ('"1"', '"2"'),
        ("seeds: [0, 1]", "seeds: [0, 1, 2]"),
        ("size: 50", "size: 51"),
        ("{size: m}\ndef", "{size: m, width: 9}\ndef"),
        ("rounds: 3", "rounds: 4"),
        ("{steps: 4}", "{steps: 5}"),
        ("{gcg: {steps: 16}}", "gcg"),
        ("tokens: 10", "tokens: 11"),
        ("position: suffix", "position: infix"),
        ("round: 2", "round: 3"),
        ("\nexamples: 32", "\nexamples: 33"),
        ("256", "257"),
        ("false", "true"),
        ("0.5", "0.4"),
        ("  - none\n", ""),
    ]
    hashes = [load(FULL).hash]
    for old, new in changes:
        assert FULL.count(old) == 1, old
        hashes.append(load(FULL.replace(old, new)).hash)
    hashes.append(load_spec(tmp_path / "x.yaml", toy_registry("2.0")).hash)  # same text as the last, newer plugins
    assert len(set(hashes)) == len(hashes)
    written = FULL.replace("{steps: 16}", "{steps: 10}")  # the default, written or not
    assert load(written).hash == load(FULL.replace("{gcg: {steps: 16}}", "gcg")).hash
    host = FULL.replace("tiny: {size: s}", "tiny: {size: s, device: cpu}")
    assert load(host).hash == hashes[0]


def test_canonical_json() -> None:
    assert canonical_json({"b": (1, 2.0), "a": [None, True, "é"]}) == '{"a":[null,true,"\\u00e9"],"b":[1,2.0]}'
    assert content_key({"a": 1}) == content_key({"a": 1}, 64)[:20]
    for wrong in (float("nan"), {"a": [float("inf")]}, {1: 2}, {"a": {1}}, b"x", Path("x")):
        with pytest.raises(ValueError, match=r"JSON|keys must be text"):
            canonical_json(wrong)
    with pytest.raises(ValueError, match="64"):
        content_key({}, 65)
