"""What plugins state by their parameters alone is held against records: no model and no data are needed for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.records.cell_manifest import CellRecord, Compute, VictimFacts
from harness.registry.loader import load_plugins
from harness.replay.by_spec.expected_cells import completeness_problems
from harness.replay.by_spec.task_sizes import task_sizes
from harness.run.cell.base_record import base_record
from harness.spec.load import LoadedSpec, read_spec

SPEC = """
name: mine
version: "1"
tasks: [TASK]
victims:
  - tiny: {size: 57k}
  - huggingface: {model: pythia-14m}
  - openai_compatible: {base_url: "http://x/v1", model: m, tokenizer: nobody/nothing}
attacks: [random_token]
threats: [{tokens: 4, access: scores}]
judge: JUDGE
examples: 32
clean_examples: 500
"""
FAMILIES = {"tiny": "tiny", "huggingface": "pythia", "openai_compatible": "m"}
WORDS, TABLE = ("{word_length: {validation_size: 1000}}", "proxy_label"), ("spam", "proxy_label")


def spec_of(task: str, judge: str) -> LoadedSpec:
    text = SPEC.replace("TASK", task).replace("JUDGE", judge)
    return read_spec(text, "spec.yaml", Path.cwd(), load_plugins().registry)


def records_of(spec: LoadedSpec, n_clean: int, **victim: Any) -> list[CellRecord]:
    """As a lab would write them, of its own spec."""
    nothing = Compute(nominal=1.0, executed=1.0)
    found = []
    for at, cell in enumerate(spec.cells):
        facts = {"family": FAMILIES[cell.victim.name], "artifact": "a" * 32} | victim
        told = VictimFacts(
            n_params=1,
            n_params_non_embedding=1,
            pretraining_flops=None,
            preparation=nothing,
            reference_flops=1.0,
            **facts,
        )
        record = base_record(cell, spec, f"{at:020x}")
        steps = cell.attack.plugin.params.steps
        found.append(record.model_copy(update={"victim_facts": told, "n_clean": n_clean, "attack_steps": steps}))
    return found


def problems(spec: LoadedSpec, records: list[CellRecord]) -> list[str]:
    listed = {record.key: min(32, record.n_clean) for record in records}
    return [*completeness_problems(spec, records, listed, task_sizes(spec, load=False))]


def test_fewer_clean_examples_of_a_spec_of_ones_own() -> None:
    """Nobody has read the spec: no data are loaded, and the parameters of the task tell how many there are."""
    spec = spec_of(*WORDS)
    assert problems(spec, records_of(spec, 500)) == []
    found = problems(spec, records_of(spec, 5))
    assert all("5 clean examples, the spec asks for 500" in line or "lists 5 examples" in line for line in found)
    assert len(found) == 2 * len(spec.cells)


def test_a_task_that_does_not_state_how_many_it_has() -> None:
    spec = spec_of(*TABLE)
    assert task_sizes(spec, load=False) == {}
    assert problems(spec, records_of(spec, 5)) == []  # noted, by `fewer_clean_examples`


@pytest.mark.parametrize("family", ["gpt-5", "=HYPERLINK(1)"])
def test_a_family_of_its_own(family: str) -> None:
    spec = spec_of(*WORDS)
    found = problems(spec, records_of(spec, 500, family=family))
    assert len(found) == len(spec.cells)
    assert all(f"victim_facts.family is '{family}', the spec's victim is of" in line for line in found)
