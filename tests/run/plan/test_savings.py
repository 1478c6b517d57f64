"""What a change of the spec would save is what a plan without it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.run.runs import WORDS, harness_here

SPEC = f"""
name: savings
version: "1"
tasks: [{WORDS}]
victims: [{{tiny: {{size: 57k, steps: 20}}}}, {{tiny: {{size: 7k, steps: 20}}}}]
defenses:
  - none
  - adversarial_training: {{rounds: 2, strength: {{start: 1, end: 1, rounds: 1}}, attack: {{gcg: {{candidates: 8}}}}}}
attacks: [{{random_token: {{steps: 2, draws: 8}}}}, {{gcg: {{steps: 32, candidates: 32}}}}]
threats: [{{tokens: 4, access: gradient}}]
seeds: [0, 1]
examples: 8
"""


def plan(folder: Path, *more: str) -> dict[str, Any]:
    done = harness_here("plan", "spec.yaml", "--json", *more, cwd=folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("change", "only"),
    [
        ("without victim tiny 57k", "victim=tiny 7k"),
        ("without defense adversarial_training", "defense=none"),
        ("without attack gcg", "attack=random_token"),
        ("without seed 0", "seed=1"),
    ],
)
def test_leaving_out_a_label_saves_what_the_plan_of_the_rest_lacks(tmp_path: Path, change: str, only: str) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    whole, rest = plan(tmp_path), plan(tmp_path, "--only", only)
    (share,) = [one["share"] for one in whole["savings"] if one["change"] == change]
    assert 1 - share == pytest.approx(rest["remaining_seconds"] / whole["remaining_seconds"], rel=1e-6)
    assert [one["share"] for one in whole["savings"]] == sorted(
        (one["share"] for one in whole["savings"]), reverse=True
    )


def test_half_the_examples_are_half_the_attacks(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    found = plan(tmp_path)
    (share,) = [one["share"] for one in found["savings"] if one["change"].startswith("half as many examples")]
    attacks = sum(stage["flops"] for stage in found["stages"] if stage["what"] == "attack")
    assert share == pytest.approx(attacks / 2 / found["remaining_flops"])


def test_a_person_is_told_in_sentences(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    done = harness_here("plan", "spec.yaml", cwd=tmp_path)
    told = done.stdout.partition("What would save most")[2].splitlines()[1:]
    assert any(line.endswith(": without victim tiny 57k") for line in told)
    assert all("%, about " in line for line in told)
