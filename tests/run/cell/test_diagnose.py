"""What diagnoses ask of a model, and what they say of it, against its hidden states read by transformers itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.torch.backend import TorchBackend
from harness.flops import Flops, nominal_forward
from harness.run.cell.clean_check import CleanCheck
from harness.run.cell.diagnostics import diagnose
from harness.run.cell.geometry import geometry
from harness.spec.fields import DiagnosticsExtent
from harness.tokens.hf_tokenizer import HFTokenizer
from tests.engine.hub_models import byte_bpe, random_model
from tests.records.rows import step_row

TEXTS = ("the first question", "and another one, longer", "short")


class Diagnosed:
    """A random classifier of two labels, some clean prompts with their answers, and the forwards that it was asked."""

    def __init__(self) -> None:
        tokenizer = HFTokenizer(byte_bpe())
        self.model = random_model("gpt_neox", "classification", tokenizer.vocabulary)
        self.backend = TorchBackend(self.model, tokenizer, "classification")
        self.victim = DefendedVictim(self.backend, labels=(" A", " B"))
        self.examples = [Example(str(i), (Chunk(text, Edit.PERTURBABLE),), 0, 1) for i, text in enumerate(TEXTS)]
        allowed = allowed_tokens(tokenizer)
        self.problems: list[Problem] = [place(one, Threat(tokens=4), tokenizer, allowed) for one in self.examples]
        self.clean = CleanCheck(self.victim.ask(TEXTS), [True] * len(TEXTS), Flops())
        self.forwards: list[int] = []
        self.model.get_input_embeddings().register_forward_hook(
            lambda _module, _ids, found: self.forwards.extend([found.shape[1]] * len(found))
        )

    def diagnose(self, strings: Sequence[str], extent: DiagnosticsExtent = "full") -> dict[str, Any]:
        """With these strings found for the examples."""
        rows = [step_row(example=str(i), step=1, attack_text=text) for i, text in enumerate(strings)]
        return diagnose(self.victim, self.examples, self.clean, self.problems, rows, ("names",), extent)

    def hidden(self, text: str) -> list[np.ndarray]:
        """At the last token, of each layer."""
        ids = torch.as_tensor(self.backend.tokenizer.encode([text]))
        with torch.no_grad():
            states = self.model.base_model(input_ids=ids, output_hidden_states=True).hidden_states
        return [one[0, -1].numpy() for one in states]


def test_each_prompt_is_read_once_and_moves_as_its_hidden_states_do() -> None:
    made = Diagnosed()
    attacked = [problem.prompt(" zq xk") for problem in made.problems]
    wanted = [(made.hidden(clean), made.hidden(text)) for clean, text in zip(TEXTS, attacked, strict=True)]
    made.forwards.clear()
    found = made.diagnose([" zq xk"] * len(TEXTS))
    lengths = {text: len(made.backend.tokenizer.encode([text])[0]) for text in (*TEXTS, *attacked)}
    asked = [lengths[text] for text in attacked]  # for their labels
    assert sorted(made.forwards) == sorted([*asked, *lengths.values()])
    layers = made.model.config.num_hidden_layers + 1
    assert [one["layer"] for one in found["shift"]] == list(range(layers))
    for layer, one in enumerate(found["shift"][:-1]):  # transformers puts its last norm over the last of them
        moved = np.mean([np.linalg.norm(after[layer] - before[layer]) for before, after in wanted])
        assert one["moved"] == pytest.approx(moved / np.mean([np.linalg.norm(b[layer]) for b, _ in wanted]), rel=1e-4)
    spent = nominal_forward(made.backend.n_params, sum(asked) + sum(lengths.values()))
    assert found["compute"]["nominal"] == pytest.approx(spent)
    assert found["compute"]["executed"] > 0


def test_what_does_not_move_is_not_read_twice() -> None:
    made = Diagnosed()
    found = made.diagnose([""] * len(TEXTS))
    lengths = [len(made.backend.tokenizer.encode([text])[0]) for text in TEXTS]
    assert sorted(made.forwards) == sorted(lengths), "each clean prompt, for how they lie to each other"
    assert {one["moved"] for one in found["shift"]} == {0.0}
    assert len(found["shift"]) == made.model.config.num_hidden_layers + 1
    assert found["ece"]["attacked"] == found["ece"]["clean"]


def test_clean_prompts_lie_to_each_other_as_their_hidden_states_do() -> None:
    made = Diagnosed()
    hidden = [made.hidden(text) for text in TEXTS]
    found = made.diagnose([""] * len(TEXTS))["geometry"]
    assert found["examples"] == ["0", "1", "2"]
    layers = made.model.config.num_hidden_layers
    assert [one["layer"] for one in found["layers"]] == list(range(layers + 1))
    for one in found["layers"][:-1]:  # transformers puts its last norm over the last of them
        rows = np.stack([of_text[one["layer"]] for of_text in hidden]).astype(np.float64)
        assert one["gram"] == pytest.approx((rows @ rows.T)[np.triu_indices(3)], rel=1e-4)


def test_a_deep_model_has_some_of_its_layers_and_what_overflows_is_left_out() -> None:
    states = np.random.default_rng(0).normal(size=(4, 33, 8))
    states[1, 8] = np.inf
    found = geometry(list("abcd"), list(states))
    assert [one["layer"] for one in found["layers"]] == [0, 4, 12, 16, 20, 24, 28, 32]


def test_what_was_not_attacked_lies_there_too() -> None:
    made = Diagnosed()
    made.problems = made.problems[:1]
    assert made.diagnose([" zq xk"])["geometry"]["examples"] == ["0", "1", "2"]


def test_light_takes_no_forward_and_off_says_nothing() -> None:
    made = Diagnosed()
    full, light = (made.diagnose([" zq xk"] * len(TEXTS), extent) for extent in ("full", "light"))
    made.forwards.clear()
    assert made.diagnose([" zq xk"] * len(TEXTS), "light") == light
    assert not made.forwards
    assert (light["shift"], light["geometry"], light["ece"]["attacked"]) == (None, None, None)
    assert light["compute"]["nominal"] == 0
    assert (light["worst_case"], light["ece"]["clean"]) == (full["worst_case"], full["ece"]["clean"])
    assert made.diagnose([" zq xk"] * len(TEXTS), "off") == {}
