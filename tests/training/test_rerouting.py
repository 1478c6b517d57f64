"""Representation rerouting: the loss against its definition on single rows, what it does to hidden states, its cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from harness.api.training import Lora, TrainConfig, TrainRow
from harness.engine.torch.flop_counter import count_parameters
from harness.engine.torch.heads import make_head
from harness.engine.torch.weights.adapters import new_adapter
from harness.errors import VictimError
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.training import checkpoint, loop
from harness.training.loop import train
from harness.training.objective import Batch, collate
from harness.training.rerouting import Rerouting, ReroutingLoss
from harness.training.rerouting_loss import Original, hidden_states, rerouting_loss
from harness.training.training_rows import reply_row
from tests.engine.hub_models import byte_bpe, random_model

TOKENIZER = HFTokenizer(byte_bpe())
CPU = torch.device("cpu")


def silent(_what: str, _done: float, _total: float) -> None:
    """No progress wanted."""


def ids_of(text: str) -> tuple[int, ...]:
    return tuple(TOKENIZER.encode([text])[0])


def model_of(kind: str = "gpt_neox") -> Any:
    return random_model(kind, "label_tokens", TOKENIZER.vocabulary, scale=2.0).eval()


def pairs(count: int) -> list[tuple[TrainRow, TrainRow]]:
    return [
        (
            reply_row(ids_of(f"The lazy fox {'x' * (i % 3)}"), ids_of(" bad dog")),
            reply_row(ids_of(f"User {i} password {'y' * (i % 4)}"), ids_of(" good")),
        )
        for i in range(count)
    ]


def batch_of(rows: list[TrainRow], model: Any) -> Batch:
    return collate(rows, make_head("generation", model, TOKENIZER, ()), 1, CPU)


@given(st.integers(1, 500), st.floats(0.1, 50))
def test_coefficients_are_those_of_the_paper(total: int, alpha: float) -> None:
    loss = ReroutingLoss(alpha=alpha)
    course = [loss.coefficients(step, total) for step in range(total)]
    assert course[0] == (alpha, 0.0)
    for step, (away, kept) in enumerate(course):
        assert away == pytest.approx(alpha * (1 - step / (2 * total)))
        assert kept == pytest.approx(alpha * step / (2 * total))
        assert kept < away  # the schedule ends half way


def test_layers_are_the_papers_in_proportion() -> None:
    assert [ReroutingLoss().layers_of(depth) for depth in (1, 2, 3, 12, 32)] == [(1,), (1,), (1, 2), (4, 8), (10, 20)]
    assert ReroutingLoss(layers=(0, 2)).layers_of(2) == (0, 2)
    with pytest.raises(VictimError, match=r"layers: \[3\] of a model that has layers 1 to 2"):
        ReroutingLoss(layers=(1, 3)).layers_of(2)


@pytest.mark.parametrize("tokens", ["all", "answer"])
@pytest.mark.parametrize("kind", ["gpt_neox", "qwen2"])
def test_the_loss_is_that_of_single_rows(kind: str, tokens: Any) -> None:
    """A padded batch against numpy on forwards of its rows alone."""
    before, model = model_of(kind), model_of(kind)
    original = Original.of(before)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel()))
    made, loss = pairs(3), ReroutingLoss(alpha=3.0, layers=(1, 2), tokens=tokens)
    batch = batch_of([row for pair in made for row in pair], model)
    with torch.no_grad():
        found = float(rerouting_loss(hidden_states(model, batch), original.states(model, batch), batch, loss, 5, 8))

    def states(of: Any, row: TrainRow) -> list[np.ndarray]:
        with torch.no_grad():
            output = of.base_model(torch.tensor([row.ids]), output_hidden_states=True)
        return [layer[0].numpy().astype(float) for layer in output.hidden_states]

    cosines, distances = [], []
    for harmful, benign in made:
        first = harmful.start if tokens == "answer" else 0
        new, old = states(model, harmful), states(before, harmful)
        for layer in (1, 2):
            a, b = new[layer][first:], old[layer][first:]
            cosines += list(np.maximum((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1), 0))
        new, old = states(model, benign), states(before, benign)
        distances += [d for a, b in zip(new, old, strict=True) for d in np.linalg.norm(a - b, axis=1)]
    wanted = 3.0 * (1 - 5 / 16) * np.mean(cosines) + 3.0 * 5 / 16 * np.mean(distances)
    assert found == pytest.approx(wanted, rel=1e-4)
    assert 0 < np.mean(cosines) < 1


def test_a_model_that_did_not_move_has_its_cosines_and_no_distance() -> None:
    model = model_of()
    batch = batch_of([row for pair in pairs(2) for row in pair], model)
    with torch.no_grad():
        states, was = hidden_states(model, batch), Original.of(model).states(model, batch)
        assert float(rerouting_loss(states, was, batch, ReroutingLoss(alpha=4.0), 0, 9)) == pytest.approx(4, rel=1e-5)
        half = float(rerouting_loss(states, was, batch, ReroutingLoss(alpha=4.0), 9, 9))
    assert half == pytest.approx(2, rel=1e-5)  # alpha/2 of cosines, and nothing of distances


def fit(folder: Path, progress: Any = silent, lora: Lora | None = None) -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    model = model_of()
    adapted = None if lora is None else new_adapter(model, lora, classifies=False, seed=0)
    config = TrainConfig(optimizer="adamw", learning_rate=1e-2 if lora else 3e-3, batch_size=4, lora=lora)
    made = Rerouting(pairs(60), ReroutingLoss())
    model = model if adapted is None else adapted.get_base_model()
    spent = train(model, TOKENIZER, made, config, seed=1, scratch=folder, progress=progress, head="generation")
    return model.eval(), made, spent


@pytest.mark.parametrize("lora", [None, Lora(r=8)], ids=["weights", "adapter"])
def test_training_turns_harmful_states_and_keeps_the_others(tmp_path: Path, lora: Lora | None) -> None:
    before, (model, made, spent) = model_of(), fit(tmp_path, lora=lora)
    batch = batch_of(made.rows[:8], model)
    with torch.no_grad():
        new, old = hidden_states(model, batch)[1], hidden_states(before, batch)[1]
    mask = batch.mask.bool()
    cosine = torch.nn.functional.cosine_similarity(new, old, dim=-1)
    harmful, benign = float(cosine[::2][mask[::2]].mean()), float(cosine[1::2][mask[1::2]].mean())
    assert harmful < 0.5 < benign
    n, tokens = count_parameters(before)[0], sum(len(row.ids) for row in made.rows)
    if lora is None:
        assert spent.nominal == pytest.approx((6 + 2) * n * tokens)
    else:
        added = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert spent.nominal == pytest.approx(((4 + 2) * (n + added) + 2 * added) * tokens)
    assert spent.executed > 0


def test_a_killed_training_holds_on_to_the_model_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _, spent = fit(tmp_path / "whole")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "_SAVE_SHARE", 1e9)

    class KilledError(Exception):
        pass

    def kill(_what: str, done: float, _total: float) -> None:
        if done == 7:
            raise KilledError

    with pytest.raises(KilledError):
        fit(tmp_path / "killed", kill)
    assert (tmp_path / "killed" / checkpoint._NAME).is_file()
    again, _, spent_again = fit(tmp_path / "killed")
    assert spent_again == spent
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
