"""The spec that holds a tuned attack against itself as it was: two attacks, and what of `exclude` is about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import RunError
from harness.records.cell_manifest import TuningRecord
from harness.registry.loader import load_plugins
from harness.registry.registry import Registry
from harness.run.tuning.entry import comparison_spec, tuned_entry
from harness.run.tuning.trial import Trial
from harness.spec.load import load_spec

RECORD = TuningRecord(flops=8e9, per_example=1e9, examples=16, trials=5, key="0" * 20)
BEST = Trial(3, {"candidates": 16}, "complete", steps=40)
SPEC: dict[str, Any] = {
    "name": "study/words",
    "version": "1",
    "tasks": ["word_length"],
    "victims": ["tiny"],
    "attacks": ["random_token", {"gcg": {"keep": "best_so_far"}}],
    "seeds": [0, 1],
    "examples": 4,
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_plugins().registry


def written(folder: Path, registry: Registry, *exclude: Any) -> dict[str, Any]:
    (folder / "s.yaml").write_text(yaml.safe_dump(SPEC | ({"exclude": list(exclude)} if exclude else {})))
    source = load_spec(folder / "s.yaml", registry)
    text = comparison_spec(source, 1, tuned_entry(source.spec.attacks[1], BEST, RECORD), 1e8)
    (folder / "both.yaml").write_text(text)
    load_spec(folder / "both.yaml", registry)  # raises where it is none
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_the_attack_as_it_was_has_steps_for_the_search_as_well(tmp_path: Path, registry: Registry) -> None:
    found = written(tmp_path, registry)
    as_it_was, tuned = found["attacks"]
    # 1e9 and 8e9 over 4 examples of 2 seeds, a quarter more for what cannot be told yet; steps of 1e8.
    assert as_it_was == {"gcg": {"keep": "best_so_far", "steps": 25}}
    assert tuned == {"gcg": {"keep": "best_so_far", "candidates": 16, "steps": 40}, "tuned": RECORD.model_dump()}
    assert found["name"] == "study/words-tuned-gcg"


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ([{"attack": "random_token", "seed": 0}], None),
        ([{"attack": "gcg", "seed": 0}], [{"attack": "gcg", "seed": 0}]),
        ([{"seed": 0, "unless": [{"attack": "random_token"}]}], [{"seed": 0}]),
        ([{"seed": 0, "unless": [{"seed": 0, "attack": "gcg"}]}], "keeps all that this entry leaves out"),
    ],
)
def test_of_exclude_what_is_about_other_attacks_goes(
    exclude: list[Any], left: Any, tmp_path: Path, registry: Registry
) -> None:
    if isinstance(left, str):
        with pytest.raises(Exception, match=left):
            written(tmp_path, registry, *exclude)
        return
    assert written(tmp_path, registry, *exclude).get("exclude") == left


def test_excluded_parameters_are_not_guessed_at(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(RunError, match="--compare: the spec's `exclude` names parameters of the attack"):
        written(tmp_path, registry, {"attack": {"gcg": {"keep": "best_so_far"}}, "seed": 0})
