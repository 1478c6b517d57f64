"""What a cell is worked out to: its models, whoever asks them, and the keys of all that is made for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import VictimError
from harness.records.model_role import ModelRole
from harness.registry.loader import load_plugins
from harness.run.plan.estimate import make_plan
from harness.run.prepare.resolved_cell import CellResolver, ResolvedCell
from harness.spec.load import load_spec
from harness.store.artifacts import FolderStore
from tests.run.runs import KIT

PLUGINS = [KIT / f"{name}.py" for name in ("task", "victim", "attack")]
SPEC = """
name: resolved
version: "1"
tasks: [{task}]
victims: [{victim}]
defenses: [{defense}]
attacks: [{attack}]
threats: [{{tokens: 5}}]
examples: 4
clean_examples: 8
"""
WORDS = '{word_length: {instructions: "Which?", train_size: 100, validation_size: 32}}'


def resolved(folder: Path, **plugins: str) -> tuple[list[ResolvedCell], CellResolver]:
    given = {"task": WORDS, "victim": "{tiny: {size: 7k}}", "defense": "none", "attack": "random_token"} | plugins
    (folder / "spec.yaml").write_text(SPEC.format(**given))
    registry = load_plugins(PLUGINS).registry
    resolver = CellResolver(registry)
    return [resolver.resolve(cell) for cell in load_spec(folder / "spec.yaml", registry).cells], resolver


def draft(steps: int) -> str:
    return f"{{probe_gcg: {{draft: {{tiny: {{size: 7k, steps: {steps}}}}}}}}}"


def trained(attack: str, rounds: int = 2) -> str:
    return f"{{adversarial_training: {{rounds: {rounds}, attack: {attack}}}}}"


def test_everything_that_is_made_is_named_once_in_the_order_of_its_making(tmp_path: Path) -> None:
    (first, second), _ = resolved(tmp_path, defense=f"[{trained(draft(6))}, perplexity_filter]")
    (training,) = (model.model.artifact.key for model in second.training_models.values() if model.model)
    rounds = [artifact.key for artifact in second.keys.rounds]
    guards = [key for role, key in second.keys.models.items() if role.asker == "defense"]
    assert list(second.artifact_keys) == [second.keys.victim, training, *rounds, *guards, second.keys.pipeline]
    assert first.keys.rounds == second.keys.rounds[:1]
    assert second.keys.weights == rounds[-1]
    assert second.victim.artifact.key == second.keys.victim


def test_a_training_attack_and_an_attack_may_ask_models_of_one_name(tmp_path: Path) -> None:
    (cell,), resolver = resolved(tmp_path, defense=trained(draft(6), rounds=1), attack=draft(7))
    asked = [models[ModelRole("draft")].model for models in (cell.auxiliary, cell.training_models)]
    keys = {model.artifact.key for model in asked if model}
    assert len(keys) == 2
    made = [stage.key for stage in make_plan([cell], resolver, FolderStore(tmp_path / "none"), None).stages]
    assert keys < set(made)
    assert keys < set(cell.artifact_keys)


def test_an_error_names_the_attack_whose_model_is_missing(tmp_path: Path) -> None:
    with pytest.raises(VictimError, match=r"attack probe_gcg asks a model 'draft'.*\{probe_gcg: \{draft: \.\.\.\}\}"):
        resolved(tmp_path, task="weather_or_food", victim="counts", defense=trained("probe_gcg"))


def test_identities_are_those_that_the_keys_hash(tmp_path: Path) -> None:
    (cell,), _ = resolved(tmp_path, defense=f"[{trained(draft(6), rounds=1)}, perplexity_filter]")
    (round_,), (fit,) = cell.keys.rounds, cell.keys.fits
    assert round_.identity()["from"] == cell.victim.artifact.key
    assert fit.identity()["from"] == round_.key
    assert cell.victim.artifact.identity()["data"] == cell.data.hash
