"""Defenses that train round by round, with an adapter in place of all weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugins.defenses.adversarial_training import AdversarialTraining
from plugins.defenses.perturbation_training import PerturbationTraining
from tests.run.runs import run_spec

SPEC = """
name: adapted
version: "1"
tasks: [{word_length: {instructions: "Which?", syllables: open, train_size: 200, validation_size: 64}}]
victims: [{tiny: {size: 7k, steps: 12, batch_size: 16}}]
defenses:
  - adversarial_training: {rounds: 2, lora: {r: 2}, attacked_per_round: 4, examples_per_round: 12, evaluate: last, strength: {start: 1, end: 1, rounds: 1}, attack: {gcg: {candidates: 8}}}
  - perturbation_training: {rounds: 2, lora: {r: 2}, examples_per_round: 12, evaluate: last}
attacks: [none]
examples: 4
clean_examples: 20
"""  # noqa: E501


@pytest.mark.parametrize("defense", [AdversarialTraining, PerturbationTraining])
def test_without_an_adapter_the_parameters_count_as_before_there_were_any(defense: Any) -> None:
    assert "lora" not in defense().params.identity()
    adapted = defense.Params.model_validate({"lora": {"r": 4}})
    assert adapted.identity()["lora"]["r"] == 4
    assert adapted.learning_rate == 2e-4
    assert defense.Params.model_validate({"lora": {}, "learning_rate": 1e-3}).learning_rate == 1e-3


@pytest.mark.slow
def test_rounds_train_one_adapter(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="needs the package peft")
    run_spec(SPEC, tmp_path)
    cells = [json.loads(path.read_text()) for path in (tmp_path / "run/cells").glob("*/cell.json")]
    assert sorted(cell["defense"]["name"] for cell in cells) == ["adversarial_training", "perturbation_training"]
    for cell in cells:
        assert cell["defense_facts"]["round"] == 2
        assert cell["defense_facts"]["training"]["nominal"] > 0
