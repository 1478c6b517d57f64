"""Models and data in local files: told apart by content, labelled by name, found from the spec's folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.api.task import TaskData
from harness.errors import SpecError, VictimError
from harness.hashing import canonical_json
from harness.registry.loader import load_plugins
from harness.registry.registry import Registry
from harness.run.cell.base_record import base_record
from harness.run.prepare.keys import stand_in_key
from harness.run.run_folder import RunFolder, files_beside
from harness.spec.load import LoadedSpec, load_spec, read_spec
from plugins.victims.openai_compatible import OpenAICompatible
from tests.engine.hub_models import write_folder
from tests.run.runs import harness_here

DATA = TaskData((" a", " b"), (), ())


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_plugins().registry


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, in five folders."""
    root = tmp_path_factory.mktemp("models")
    write_folder(root / "m1", "gpt_neox")
    write_folder(root / "m2", "gpt_neox", seed=5)
    for name, source in (("a/final", "m1"), ("b/final", "m2"), ("copy", "m1")):
        shutil.copytree(root / source, root / name)
    return root


@pytest.fixture
def folder(tmp_path: Path, models: Path) -> Path:
    """A spec's folder with the models in it, which is not the working directory."""
    found = tmp_path / "spec"
    shutil.copytree(models, found)
    return found


def local(model: Any, **params: Any) -> dict[str, Any]:
    return {"huggingface": {"model": str(model), "fine_tune": False} | params}


def load(folder: Path, registry: Registry, **fields: Any) -> LoadedSpec:
    spec = {
        "name": "local",
        "version": "1",
        "tasks": ["password_match"],
        "victims": ["tiny"],
        "attacks": ["random_token"],
        "threats": [{"tokens": 3}],
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec | fields))
    return load_spec(folder / "spec.yaml", registry)


def labels(spec: LoadedSpec, kind: str = "victim") -> list[str]:
    return list(dict.fromkeys(getattr(cell, kind).label for cell in spec.cells))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["./m1"], ["huggingface m1"]),
        (["m1", "./m2/"], ["huggingface m1", "huggingface m2"]),
        (["a/final", "b/final"], ["huggingface a/final", "huggingface b/final"]),
        (["./a/../a/final", "m2"], ["huggingface final", "huggingface m2"]),
        (["m1", "gpt2"], ["huggingface m1", "huggingface gpt2"]),
    ],
)
def test_folders_are_labelled_by_name(
    folder: Path, registry: Registry, written: list[str], expected: list[str]
) -> None:
    spec = load(folder, registry, victims=[local(model) for model in written])
    assert labels(spec) == expected
    assert len({stand_in_key(cell) for cell in spec.cells}) == len(written)


def test_other_parameters_stand_beside_the_name(folder: Path, registry: Registry) -> None:
    spec = load(folder, registry, victims=[local("m1"), local("m1", dtype="float32"), local("m2")])
    assert labels(spec) == [
        "huggingface(model=m1, dtype=auto)",
        "huggingface(model=m1, dtype=float32)",
        "huggingface(model=m2, dtype=auto)",
    ]


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (["m1", "./m1"], r"victims\[1\]: the same as victims\[0\] on line \d+; remove one of the two"),
        (["m1", "copy"], r"victims\[1\]: has the content of victims\[0\] on line \d+, in another place; remove one"),
    ],
)
def test_one_model_twice_is_an_error(folder: Path, registry: Registry, pair: list[str], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        load(folder, registry, victims=[local(model) for model in pair])


def test_folders_that_are_not_there_are_told_apart_by_place(folder: Path, registry: Registry) -> None:
    spec = load(folder, registry, victims=[local("./x"), local("./y")])
    assert labels(spec) == ["huggingface x", "huggingface y"]
    with pytest.raises(VictimError, match=rf"{folder / 'x'}: there is no such folder; give a folder with config\.json"):
        spec.cells[0].victim.plugin.fingerprint()


@pytest.mark.parametrize(("model", "left"), [("m1", ["m2"]), ("./m2", ["m1"]), ("copy", ["m2"])])
def test_exclude_means_the_one_folder(folder: Path, registry: Registry, model: str, left: list[str]) -> None:
    victims = [local("m1"), local("m2")]
    spec = load(folder, registry, victims=victims, exclude=[{"victim": {"huggingface": {"model": model}}}])
    assert labels(spec) == [f"huggingface {name}" for name in left]


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        ("defense", lambda model: {"perplexity_filter": {"lm": local(model, head="causal_lm")}}),
        (
            "defense",
            lambda model: [
                "retokenization",
                {"classifier_guard": {"model": local(model), "classes": ["a", "b"], "refuse": ["a"]}},
            ],
        ),
        ("attack", lambda model: {"llm_attacker": {"attacker": local(model, head="causal_lm")}}),
    ],
)
def test_so_are_those_that_other_plugins_ask(folder: Path, registry: Registry, kind: str, entry: Any) -> None:
    field = f"{kind}s"
    spec = load(folder, registry, **{field: [entry("m1"), entry("m2")]})
    first, second = labels(spec, kind)
    assert "m1" in first
    assert "m2" in second
    assert str(folder) not in first + second
    assert len({stand_in_key(cell) for cell in spec.cells}) == 2
    with pytest.raises(SpecError, match=rf"{field}\[1\]: has the content of {field}\[0\]"):
        load(folder, registry, **{field: [entry("m1"), entry("copy")]})


def test_tasks_from_files_are_labelled_by_name_and_told_apart_by_content(folder: Path, registry: Registry) -> None:
    def task(path: Any) -> dict[str, Any]:
        return {"text_classification": {"path": path, "labels": ["a", "b"]}}

    for name, text in (("one", "x,a"), ("two", "y,b"), ("again", "x,a")):
        (folder / f"{name}.csv").write_text(f"text,label\n{text}\n")
    spec = load(folder, registry, tasks=[task("one.csv"), task("two.csv")])
    assert labels(spec, "task") == ["text_classification one.csv", "text_classification two.csv"]
    assert labels(load(folder, registry, tasks=[task("one.csv")]), "task") == ["text_classification"]
    splits = [{"train": "one.csv", "validation": name} for name in ("two.csv", "again.csv")]
    assert labels(load(folder, registry, tasks=[task(path) for path in splits]), "task") == [
        "text_classification two.csv",
        "text_classification again.csv",
    ]
    with pytest.raises(SpecError, match=r"tasks\[1\]: has the content of tasks\[0\] .*, in another place"):
        load(folder, registry, tasks=[task("one.csv"), task("again.csv")])
    kept = load(folder, registry, tasks=[task("one.csv"), task("two.csv")], exclude=[{"task": task("one.csv")}])
    assert labels(kept, "task") == ["text_classification two.csv"]


# -- where paths count from -------------------------------------------------------------------------------------------


def test_paths_count_from_the_specs_folder(
    folder: Path, models: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for away in (models, folder / "a"):
        monkeypatch.chdir(away)
        for text in ("m2", "./m2", str(folder / "m2")):
            (cell,) = load(folder, registry, victims=[local(text)]).cells
            assert cell.victim.plugin.params.model == str(folder / "m2")


@pytest.mark.parametrize("text", ["m1", "./m1", "a/final"])
def test_a_folder_of_the_working_directory_alone_is_told(
    tmp_path: Path, models: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(models)
    with pytest.raises(SpecError) as caught:
        load(tmp_path, registry, victims=[local(text)])
    message = str(caught.value)
    assert message.count("\n") == 0
    assert "spec.yaml:" in message
    assert "victims[0].huggingface.model: there is a folder" in message
    assert str(models / text) in message
    assert str(tmp_path / text) in message


def test_presets_and_hub_ids_stay_what_they_are(
    folder: Path, models: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models)
    (folder / "pythia-14m").mkdir()
    spec = load(
        folder, registry, victims=[local(name) for name in ("pythia-14m", "gpt2", "some/model", "./pythia-14m")]
    )
    assert [cell.victim.plugin.params.model for cell in spec.cells] == [
        "pythia-14m",
        "gpt2",
        "some/model",
        str(folder / "pythia-14m"),
    ]


@pytest.mark.parametrize("path", ["/nowhere/m", "/nowhere/a/b/c"])
def test_a_path_that_is_not_there_is_no_hub_id(tmp_path: Path, registry: Registry, path: str) -> None:
    (cell,) = load(tmp_path, registry, victims=[local(path)]).cells
    plugin = cell.victim.plugin
    for ask in (plugin.fingerprint, lambda: plugin.card(DATA)):
        with pytest.raises(VictimError, match=rf"^{path}: there is no such folder"):
            ask()
    assert cell.victim.identity()["params"]["model"] == "local"


@pytest.mark.parametrize("model", ["a/b/c", "no--good", "with space", "x" * 5000])
def test_what_can_be_no_hub_id_is_told(tmp_path: Path, registry: Registry, model: str) -> None:
    (cell,) = load(tmp_path, registry, victims=[local(model)]).cells
    for ask in (cell.victim.plugin.fingerprint, lambda: cell.victim.plugin.card(DATA)):
        with pytest.raises(VictimError, match=rf"^{model}: neither a folder nor a hub id"):
            ask()


@pytest.mark.parametrize(("command", "code"), [("run", 1), ("plan", 2)])
def test_a_run_says_that_a_model_is_not_there(tmp_path: Path, registry: Registry, command: str, code: int) -> None:
    load(tmp_path, registry, victims=[local("/nowhere/m")])
    done = harness_here(command, "spec.yaml", cwd=tmp_path)
    assert done.returncode == code
    assert "/nowhere/m: there is no such folder" in " ".join(done.stderr.split())
    assert "bug" not in done.stderr


def test_a_file_is_no_model(folder: Path, registry: Registry) -> None:
    (cell,) = load(folder, registry, victims=[local("./m1/config.json")]).cells
    with pytest.raises(VictimError, match=r"config\.json: there is no such folder; give a folder"):
        cell.victim.plugin.fingerprint()


def test_a_tokenizer_counts_from_the_spec_as_well(folder: Path, registry: Registry) -> None:
    served = {"base_url": "http://localhost:1/v1", "model": "x", "tokenizer": "./m1"}
    (cell,) = load(folder, registry, victims=[{"openai_compatible": served}]).cells
    plugin = cell.victim.plugin
    assert isinstance(plugin, OpenAICompatible)
    assert plugin._tokenizer_file == folder / "m1" / "tokenizer.json"
    (cell,) = load(folder, registry, victims=[{"openai_compatible": served | {"tokenizer": "./gone"}}]).cells
    with pytest.raises(VictimError, match=r"gone: there is no such folder"):
        cell.victim.plugin._tokenizer_file  # noqa: B018


def test_neither_hash_nor_record_knows_where_the_folder_lies(folder: Path, tmp_path: Path, registry: Registry) -> None:
    """The same spec elsewhere, even where the models are not: whoever checks a submission has them not."""
    judge = {"classifier_judge": {"model": local("./m2"), "classes": ["a", "b"], "success": "a"}}
    fields = {"victims": [local("./m1")], "judge": judge, "tasks": ["forbidden_topics"]}
    (tmp_path / "elsewhere").mkdir()
    specs = [load(where, registry, **fields) for where in (folder, tmp_path / "elsewhere")]
    assert specs[0].hash == specs[1].hash
    records = [[base_record(cell, spec, "").model_dump(mode="json") for cell in spec.cells] for spec in specs]
    assert records[0] == records[1]
    assert str(tmp_path) not in canonical_json(records[0])
    assert "m1" in records[0][0]["victim"]["label"]
    assert "m2" in json.dumps(records[0][0]["judge"])


def test_records_know_no_place_of_a_nested_server(folder: Path, registry: Registry) -> None:
    """Whoever checks a submission writes addresses and folders of their own."""

    def served(**where: Any) -> dict[str, Any]:
        return {"openai_compatible": {"model": "x", "head": "generation", "api": "chat"} | where}

    places = [
        {"base_url": "http://localhost:1/v1", "tokenizer": "./m1", "api_key_env": "MINE"},
        {"base_url": "http://elsewhere:2/v1", "tokenizer": "some/hub-id", "timeout": 7.0, "batch": 1},
    ]
    records = []
    for place in places:
        attack = {"llm_attacker": {"steps": 1, "attacker": served(**place)}}
        judge = {"llm_judge": {"model": served(**place)}}
        fields = {"victims": [served(**place)], "attacks": [attack], "judge": judge, "tasks": ["forbidden_topics"]}
        spec = load(folder, registry, **fields)
        records.append([base_record(cell, spec, "").model_dump(mode="json") for cell in spec.cells])
    for one in records:
        text = canonical_json(one)
        assert not [word for word in ("localhost", "elsewhere", "MINE", "hub-id", str(folder)) if word in text]
    assert records[0] == records[1]
    assert records[0][0]["judge"]["label"].startswith("llm_judge(model=openai_compatible(model=x, head=gen")


def test_plain_names_of_folders_mean_the_same_where_these_are_not(
    folder: Path, tmp_path: Path, registry: Registry
) -> None:
    judge = {"classifier_judge": {"model": local("a/final"), "classes": ["a", "b"], "success": "a"}}
    spec = load(folder, registry, victims=[local("m1"), local("./m2")], judge=judge, tasks=["forbidden_topics"])
    assert spec.plain_folders == ("a/final", "m1")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert read_spec(spec.text, "spec.yaml", elsewhere, registry).hash != spec.hash, "they read as hub ids"
    again = read_spec(spec.text, "spec.yaml", elsewhere, registry, spec.plain_folders)
    assert again.hash == spec.hash
    records = [[base_record(cell, one, "").model_dump(mode="json") for cell in one.cells] for one in (spec, again)]
    assert records[0] == records[1]


def test_a_chat_template_is_kept_with_the_run(tmp_path: Path) -> None:
    inside, outside = tmp_path / "study" / "chat" / "mine.jinja", tmp_path / "other.jinja"
    inside.parent.mkdir(parents=True)
    inside.write_text("{{ messages }}")
    outside.write_text("{{ bos_token }}")
    (tmp_path / "study" / "spec.yaml").write_text(
        """
name: kept
version: "1"
tasks: [{word_length: {train_size: 40, validation_size: 10}}]
victims:
  - huggingface: {model: ./a, head: causal_lm, chat: ./chat/mine.jinja}
  - huggingface: {model: ./b, head: causal_lm, chat: ../other.jinja}
  - huggingface: {model: ./c, head: causal_lm, chat: ./missing.jinja}
  - huggingface: {model: ./d}
attacks: [none]
threats: [{tokens: 3}]
judge: wrong_label
"""
    )
    spec = load_spec(tmp_path / "study" / "spec.yaml", load_plugins().registry)
    assert files_beside(spec) == {"chat/mine.jinja": "{{ messages }}"}
    RunFolder(tmp_path / "run").begin(spec, "0", {"cells": 4})
    assert json.loads((tmp_path / "run" / "run.json").read_text())["spec_files"] == {
        "chat/mine.jinja": "{{ messages }}"
    }
