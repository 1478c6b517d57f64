"""Runtime defenses and stacks through the command line, on a tiny victim: records, and that a run can be repeated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.records.read import read_run
from leaderboard.data.record_facts import defense_preparation
from leaderboard.standings.standings import standings
from tests.run.runs import WORDS, harness_here, records

SPEC = f"""
name: defended
version: "1"
tasks: [{WORDS}]
victims: [{{tiny: {{size: 7k, steps: 30}}}}]
defenses:
  - none
  - perplexity_filter: {{fit_examples: 60}}
  - {{perplexity_filter: {{fit_examples: 60}}, non_adaptive: true}}
  -
    - perplexity_filter: {{fit_examples: 60}}
    - random_smoothing: {{copies: 3, certify_samples: 20, certify_examples: 4}}
  - inference_compute: {{samples: 3}}
attacks: [{{gcg: {{steps: 2, candidates: 8, topk: 32}}}}]
threats: [{{tokens: 4}}]
examples: 6
clean_examples: 12
attack_draws: 2
judge_draws: 3
"""


@pytest.mark.slow
def test_records_tell_what_a_defense_costs_and_how_it_was_attacked(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    done = harness_here("run", spec, "--out", tmp_path / "one", "--store", tmp_path / "store", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = records(tmp_path / "one")
    by_label = {cell["defense"]["label"]: (cell, steps) for cell, steps, _ in found.values()}
    assert len(by_label) == 5

    guard, _ = by_label["perplexity_filter"]
    static, _ = by_label["perplexity_filter (static)"]
    (part,) = guard["defense_facts"]["parts"]
    assert (part["sort"], part["offers"], part["reached"]) == ("guard", "surrogate", 12)
    assert guard["defense_facts"]["adaptive"] is True
    assert static["defense_facts"]["adaptive"] is False
    assert static["defense_facts"]["parts"] == [part]  # the same fitted filter
    assert guard["defense_facts"]["fit"]["nominal"] > 0
    assert "defense:0:lm" in guard["auxiliary"]
    assert guard["n_clean_correct"] == static["n_clean_correct"]

    stack, steps = by_label["perplexity_filter + random_smoothing"]
    facts = stack["defense_facts"]
    assert [p["sort"] for p in facts["parts"]] == ["guard", "vote"]
    assert facts["per_query"]["nominal"] > guard["defense_facts"]["per_query"]["nominal"] > 0
    assert (facts["attack_draws"], facts["judge_draws"]) == (2, 3)
    assert len(facts["certificate"]["radii"]) == 4
    assert {row["draws"] for row in steps} <= {3, None}

    again = harness_here("run", spec, "--out", tmp_path / "two", "--store", tmp_path / "store", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert records(tmp_path / "two") == found


@pytest.mark.slow
def test_models_that_training_attacks_ask_are_part_of_what_a_defense_took(tmp_path: Path) -> None:
    beast = "{beast: {steps: 2, width: 2, branching: 2}}"
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        f"""
name: prepared
version: "1"
tasks: [{WORDS}]
victims: [{{tiny: {{size: 7k, steps: 20}}}}]
defenses:
  - adversarial_training:
      rounds: 1
      attacked_per_round: 4
      examples_per_round: 16
      strength: {{start: 1, end: 1, rounds: 1}}
      attack: BEAST
  - activation_detector: {{fit_examples: 6, attack: BEAST}}
  - perplexity_filter: {{fit_examples: 20}}
attacks: [{{random_token: {{steps: 1, draws: 2}}}}]
threats: [{{tokens: 2}}]
examples: 4
clean_examples: 6
""".replace("BEAST", beast)
    )
    done = harness_here("run", spec, "--out", tmp_path / "run", "--store", tmp_path / "store", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = read_run(tmp_path / "run")
    found = {cell.record.defense.name: defense_preparation(cell.record) for cell in run.cells}
    prepared = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "store").glob("*/manifest.json")}
    models = {
        key: manifest["facts"]["compute"]["nominal"]
        for key, manifest in prepared.items()
        if manifest["identity"]["what"] == "victim"
    }
    assert len(models) == 2  # the victim, and a language model of its family that both attacks and the filter ask
    victims = {cell.record.victim_facts.artifact for cell in run.cells if cell.record.victim_facts}
    (asked,) = (spent for key, spent in models.items() if key not in victims)
    assert {name: spent["models"] for name, spent in found.items()} == {
        "adversarial_training": asked,
        "activation_detector": asked,
        "perplexity_filter": asked,
    }
    assert found["adversarial_training"]["search"] > 0
    assert found["adversarial_training"]["training"] > 0
    assert found["activation_detector"]["fit"] > 0
    (table,) = standings([run])
    for row in table.rows:
        assert row.defense_compute == pytest.approx(sum(found[row.defense.split("(")[0].split(" ")[0]].values()))
