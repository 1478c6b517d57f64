"""The specs of the study run to the end in small: tiny models in hub layout and a few rows in each set's own layout
stand in for those of the hub; sizes, steps and rounds are cut. What is left out, and what is attacked with what, is the
spec's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli import main
from harness.records.read import Run, read_run
from harness.registry.loader import load_plugins
from harness.spec.load import load_spec
from tests.engine.hub_models import write_folder
from tests.plugins.tasks.hub_layouts import write_set

pytestmark = pytest.mark.slow
SPECS = Path(__file__).parents[2] / "specs"
MODELS = {
    "pythia-14m": "gpt_neox",
    "qwen2.5-0.5b": "qwen2",
    "qwen2.5-0.5b-instruct": "qwen2",
    "google/gemma-2b": "qwen2",
}
OF_ROUNDS = {60: "gpt_neox", 22: "qwen2"}
ROUNDS = {60: 2, 22: 1}  # of these two models; the other sizes and their rounds are left out
STEPS = {10: 1, 2: 1, 128: 2, 25: 2}
SMALL = {
    "gcg": {"candidates": 4, "topk": 8},
    "random_token": {"draws": 4},
    "beast": {"width": 2, "branching": 2},
    "adversarial_training": {"attacked_per_round": 3, "examples_per_round": 6, "attack": {"gcg": {"candidates": 4}}},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a GPT-NeoX and a Qwen2, as language models come from the hub."""
    folder = tmp_path_factory.mktemp("models")
    for kind in ("gpt_neox", "qwen2"):
        write_folder(folder / kind, kind, "label_tokens", context=512, layers=1, scale=1.0)
    return folder


class LeftOutError(Exception):
    """A model or defense that the small spec is without."""


def small_ref(name: str, params: dict[str, Any], models: Path, kinds: tuple[str, ...]) -> dict[str, Any]:
    """A plugin's reference as the small spec has it."""
    if name == "huggingface":
        if MODELS.get(params["model"]) not in kinds:
            raise LeftOutError
        changed: dict[str, Any] = {"model": str(models / MODELS[params["model"]]), "dtype": "float32", "device": "cpu"}
        if params.get("fine_tune"):
            changed["fine_tune"] = params["fine_tune"] | {"train_examples": 6, "epochs": 1}
        return params | changed
    if name == "adversarial_training":
        if params["rounds"] not in ROUNDS or OF_ROUNDS[params["rounds"]] not in kinds:
            raise LeftOutError
        changed = {"rounds": ROUNDS[params["rounds"]], "evaluate": "all"}
        return params | SMALL[name] | changed | {"strength": {"start": 1, "end": 2, "rounds": 2}}
    return params | SMALL.get(name, {}) | ({"steps": STEPS[params["steps"]]} if "steps" in params else {})


def small(value: Any, models: Path, kinds: tuple[str, ...]) -> Any:
    """A part of the spec with every reference in it made small; entries about what is left out go."""
    if isinstance(value, list):
        kept = []
        for item in value:
            try:
                kept.append(small(item, models, kinds))
            except LeftOutError:
                continue
        return kept
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and isinstance(params := next(iter(value.values())), dict):
        (name,) = value
        if name in (*SMALL, "huggingface"):
            return {name: small_ref(name, params, models, kinds)}
    return {key: small(content, models, kinds) for key, content in value.items()}


def small_spec(name: str, folder: Path, models: Path, kinds: tuple[str, ...], seeds: tuple[int, ...] = (0,)) -> Path:
    """The spec cut down, its data next to it."""
    spec = small(yaml.safe_load((SPECS / f"{name}.yaml").read_text(encoding="utf-8")), models, kinds)
    (task,) = spec["tasks"]
    ((kind, params),) = task.items() if isinstance(task, dict) else [(task, {})]
    if kind in ("password_match", "word_length"):
        params = params | {"train_size": 8, "validation_size": 4}
    else:
        params = params | {"path": str(write_set(kind, folder / "data"))}
    if "answer_tokens" in params:
        params["answer_tokens"] = 3
        judge = {"model": {"huggingface": {"model": str(models / "qwen2"), "head": "causal_lm", "fine_tune": False}}}
        spec["judge"] = {spec["judge"]: judge}
    alone = len(kinds) == 1  # then nothing is said of which victim is trained for how long
    spec["exclude"] = [
        entry
        for entry in spec["exclude"]
        if entry.get("seed", seeds[0]) in seeds
        and ("unless" not in entry or entry["unless"])
        and not (alone and "defense" in entry and "unless" in entry)
    ]
    changes = {"tasks": [{kind: params}], "seeds": [*seeds], "examples": 3, "clean_examples": 3}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(spec | changes), encoding="utf-8")
    return path


def finished(name: str, folder: Path, models: Path, kinds: tuple[str, ...]) -> Run:
    spec = small_spec(name, folder, models, kinds)
    assert main(["validate", str(spec)]) == 0
    assert main(["run", str(spec), "--out", str(folder / "out"), "--quiet", "--jobs", "0"]) == 0
    found = read_run(folder / "out")
    assert not found.failed
    assert sum(cell.record.n_attacked for cell in found) > 0
    return found


def attacked(run: Run) -> set[tuple[Any, ...]]:
    """What was attacked with what: round, attack with its steps, position and length of the string."""
    return {
        (
            cell.record.defense_facts.round,
            f"{cell.record.attack.name} {cell.record.attack.params.get('steps')}",
            cell.record.threat["position"],
            cell.record.threat["tokens"],
        )
        for cell in run
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("spam", "gpt_neox"),
        ("imdb", "qwen2"),
        ("helpful", "qwen2"),
        ("harmless", "qwen2"),
        ("password_match", "gpt_neox"),
        ("word_length", "qwen2"),
    ],
)
def test_the_study_on_classifiers(name: str, kind: str, tmp_path: Path, models: Path) -> None:
    run = finished(f"study/{name}", tmp_path, models, (kind,))
    places = ["suffix"] if name in ("password_match", "word_length") else ["suffix", "infix", "prefix"]
    rounds = [1, 2] if kind == "gpt_neox" else [1]
    wanted = {(None, attack, "suffix", 10) for attack in ("random_token 1", "gcg 1")}
    wanted |= {(round_, "beast 2", "suffix", 25) for round_ in (None, *rounds)}
    wanted |= {(round_, "gcg 2", place, 10) for round_ in rounds for place in places}
    assert attacked(run) == wanted


def test_pythia_has_more_seeds_than_qwen_and_each_its_own_rounds(tmp_path: Path, models: Path) -> None:
    spec = small_spec("study/spam", tmp_path, models, ("gpt_neox", "qwen2"), (0, 3))
    cells = load_spec(spec, load_plugins().registry).cells
    told = {(Path(cell.victim.plugin.params.model).name, cell.seed, cell.round) for cell in cells}
    pythia = {("gpt_neox", seed, round_) for seed in (0, 3) for round_ in (None, 1, 2)}
    assert told == pythia | {("qwen2", 0, None), ("qwen2", 0, 1)}


def test_the_study_on_answers_in_text(tmp_path: Path, models: Path) -> None:
    run = finished("study/strongreject", tmp_path, models, ("qwen2",))
    attacks = [("none", 10), ("random_token", 10), ("gcg", 10), ("beast", 25)]
    assert {(name.split()[0], tokens) for _, name, _, tokens in attacked(run)} == set(attacks)
    assert {cell.record.judge.name for cell in run} == {"strongreject_finetuned"}
