"""Cells whose victim cannot be asked in messages, with a system prompt or from the answer's beginning on, are refused
before a run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.registry.loader import load_plugins
from harness.run.cell_problems import runnable_cells
from harness.run.prepare.resolved_cell import CellResolver
from harness.spec.load import load_spec
from harness.spec.spec_problems import InvalidSpecError
from tests.plugins.victims.test_huggingface_chat import chat_model

ANSWER = {"position": "answer", "tokens": 5, "access": "text"}
LATENT = {"tokens": 3, "access": "latent", "radius": 0.5}
STATIC = {"system_prompt": {}, "non_adaptive": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("models")
    for family in ("smollm2", "gemma"):
        chat_model(found / family, family)
    (found / "b.csv").write_text("prompt\nHello there\nWhat is a fox?\n")
    return found


def found(folder: Path, victim: str = "smollm2", **changes: Any) -> tuple[int, str]:
    """How many cells can be run, and what is said of the others."""
    spec = {
        "name": "c",
        "version": "1",
        "tasks": [{"behaviors": {"path": "b.csv"}}],
        "victims": [{"huggingface": {"model": f"./{victim}", "fine_tune": False}}],
        "attacks": ["none"],
        "threats": [{"tokens": 5, "access": "text"}],
        "judge": "refusal_match",
        "examples": 2,
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec | changes))
    registry = load_plugins().registry
    try:
        cells, error = runnable_cells(load_spec(folder / "spec.yaml", registry), CellResolver(registry))
    except InvalidSpecError as raised:
        return 0, str(raised)
    return len(cells), str(error or "")


def test_what_goes_together_can_be_run(folder: Path) -> None:
    changes = {"attacks": ["none", "prefill"], "threats": [ANSWER], "defenses": ["none", "system_prompt", STATIC]}
    assert found(folder, **changes) == (6, "")
    assert found(folder, "gemma", attacks=["prefill"], threats=[ANSWER]) == (1, "")


@pytest.mark.parametrize(
    ("victim", "changes", "words"),
    [
        (
            "gemma",
            {"defenses": ["system_prompt"]},
            "defense system_prompt: .*gemma: the chat template does not accept",
        ),
        ("gemma", {"defenses": ["system_prompt"], "threats": [ANSWER]}, r"\(system, user, assistant\): .*System role"),
        ("smollm2", {"attacks": ["prefill"]}, "give it a threat model with position: answer"),
        (
            "smollm2",
            {"attacks": ["latent"], "threats": [LATENT], "defenses": [STATIC]},
            "leave out non_adaptive, or exclude it",
        ),
    ],
)
def test_what_does_not_is_refused_in_words(folder: Path, victim: str, changes: dict[str, Any], words: str) -> None:
    runnable, said = found(folder, victim, **changes)
    assert runnable == 0
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(" ".join(said.split()))


def test_labels_are_begun_by_nobody_and_a_victim_without_a_template_has_no_system_prompt(folder: Path) -> None:
    labelled = {"word_length": {"train_size": 40, "validation_size": 10}}
    told = {"tasks": [labelled], "judge": "wrong_label"}
    said = found(folder, threats=[ANSWER], **told)[1]
    assert "is answered with labels, so there is no beginning of an answer" in said
    # A classification head reads no chat; label tokens do.
    assert "puts messages around the prompt, and " in found(folder, defenses=["system_prompt"], **told)[1]
    off = {"huggingface": {"model": "./smollm2", "fine_tune": False, "chat": "off"}}
    assert "puts messages around the prompt, and " in found(folder, defenses=["system_prompt"], victims=[off])[1]
    assert found(folder, attacks=["prefill"], threats=[ANSWER], victims=[off]) == (1, "")
