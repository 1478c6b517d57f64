"""Entries of `defenses` that are stacks or static: cells, labels, excludes, keys, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.registry.loader import load_plugins
from harness.run.prepare.keys import Keys
from harness.spec.cells import CellSpec
from harness.spec.load import LoadedSpec, load_spec
from harness.spec.spec_problems import InvalidSpecError

REGISTRY = load_plugins().registry
HEAD = """name: stacked
version: "1"
tasks: [{TASK}]
victims: [{{tiny: {{size: 7k}}}}]
attacks: [random_token]
{MORE}
defenses:
"""


def load(tmp_path: Path, defenses: str, more: str = "", task: str = "password_match") -> LoadedSpec:
    path = tmp_path / "spec.yaml"
    path.write_text(HEAD.format(TASK=task, MORE=more) + defenses)
    return load_spec(path, REGISTRY)


def told(tmp_path: Path, defenses: str, more: str = "", task: str = "password_match") -> str:
    with pytest.raises(InvalidSpecError) as caught:
        load(tmp_path, defenses, more, task)
    return str(caught.value)


def keys(cell: CellSpec) -> Keys:
    return Keys(cell, "data", {}, {})


def test_forms_labels_and_parts(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        """
  - none
  - perplexity_filter
  - {perplexity_filter: {window: 5}, non_adaptive: true}
  - [{adversarial_training: {rounds: 2, evaluate: last}}, retokenization]
  - {stack: [perplexity_filter, retokenization], non_adaptive: true}
  - [random_smoothing]
""",
    )
    assert [cell.defense.label for cell in spec.cells] == [
        "none",
        "perplexity_filter(window=10)",
        "perplexity_filter(window=5) (static)",
        "adversarial_training + retokenization",
        "perplexity_filter(window=10) + retokenization (static)",
        "random_smoothing",
    ]
    assert [cell.round for cell in spec.cells] == [None, None, None, 2, None, None]
    assert [cell.static for cell in spec.cells] == [False, False, True, False, True, False]
    assert [part.name for part in spec.cells[3].runtime] == ["retokenization"]
    assert spec.cells[3].trained_plugin is not None
    assert spec.cells[5].defense.name == "random_smoothing"  # a list of one is the one


def test_a_stack_shares_the_training_of_its_trained_part_and_order_is_identity(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        """
  - {adversarial_training: {rounds: 2, evaluate: last}}
  - [{adversarial_training: {rounds: 2, evaluate: last}}, perplexity_filter]
  - perplexity_filter
  - [perplexity_filter, retokenization]
  - [retokenization, perplexity_filter]
  - {perplexity_filter: , non_adaptive: true}
""",
    )
    alone, stack, guard, one, other, static = map(keys, spec.cells)
    assert alone.weights == stack.weights != guard.weights
    assert len({k.search for k in (alone, stack, guard, one, other, static)}) == 6
    assert len({k.pipeline for k in (guard, one, other)}) == 3
    assert guard.pipeline == static.pipeline  # the same defended victim


def test_excludes_name_stacks_by_all_their_parts(tmp_path: Path) -> None:
    defenses = """
  - perplexity_filter
  - {perplexity_filter: , non_adaptive: true}
  - [retokenization, perplexity_filter]
"""

    def left(entry: str) -> list[str]:
        return [c.defense.label for c in load(tmp_path, defenses, f"exclude: [{{defense: {entry}}}]").cells]

    stack = "retokenization + perplexity_filter"
    assert left("perplexity_filter") == [stack]
    assert left("{perplexity_filter: , non_adaptive: true}") == ["perplexity_filter", stack]
    assert left("[retokenization, perplexity_filter]") == ["perplexity_filter", "perplexity_filter (static)"]
    more = "exclude: [{defense: [perplexity_filter, retokenization]}]"
    assert "no defense of this spec is perplexity_filter + retokenization" in told(tmp_path, defenses, more)


@pytest.mark.parametrize(
    ("defenses", "words"),
    [
        ("  - []\n", "a stack is a list of defenses"),
        ("  - [none, perplexity_filter]\n", "'none' means no defense, so it cannot be part of a stack"),
        ("  - [adversarial_training, adversarial_training]\n", "both train weights; a stack has one such part"),
        ("  - [[perplexity_filter]]\n", "a stack within a stack"),
        ("  - [retokenization, random_smoothing]\n", "put retokenization last"),
        ("  - {none: , non_adaptive: true}\n", "nothing to adapt to"),
        ("  - {perplexity_filter: , non_adaptive: 3}\n", "non_adaptive: should be true or false"),
        ("  - [perplexity_filter, nonsense]\n", "no defense is called 'nonsense'"),
        ("  - [{perplexity_filter: {windw: 3}}, retokenization]\n", "windw"),
        ("  - [retokenization, perplexity_filter]\n  - [retokenization, perplexity_filter]\n", "the same as"),
    ],
)
def test_what_cannot_be_is_told_in_words(tmp_path: Path, defenses: str, words: str) -> None:
    said = told(tmp_path, defenses)
    assert words in said
    assert "spec.yaml:8" in said or "spec.yaml:9" in said


def test_the_hash_of_a_spec_without_stacks_is_as_before(tmp_path: Path) -> None:
    resolved = load(tmp_path, "  - none\n").identity
    assert "attack_draws" not in resolved
    assert [entry["name"] for entry in resolved["defenses"]] == ["none"]
    assert load(tmp_path, "  - none\n", "judge_draws: 9").identity["judge_draws"] == 9
