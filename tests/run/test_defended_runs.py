"""Runtime defenses and stacks through the command line, on a tiny victim: records, and that a run can be repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

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
