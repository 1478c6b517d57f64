"""Examples in several views: the loss against a plain computation, the order, and what a kill changes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from harness.api.training import TrainConfig, TrainRow
from harness.engine.torch.heads import GenerationHead, make_head
from harness.errors import VictimError
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.training import loop
from harness.training.loop import train
from harness.training.objective import BatchOutput, collate, forward_batch, mean_loss
from harness.training.training_rows import reply_row
from harness.training.view_loss import consistency_loss, contrastive_loss, view_loss
from harness.training.views import ViewLoss, Views
from tests.engine.hub_models import byte_bpe, random_model
from tests.training.batches import batch_loss

TOKENIZER = HFTokenizer(byte_bpe())
CPU = torch.device("cpu")
LABELS = (" fox", " User password")


def silent(_what: str, _done: float, _total: float) -> None:
    """No progress wanted."""


def ids_of(text: str) -> tuple[int, ...]:
    return tuple(TOKENIZER.encode([text])[0])


def groups(count: int, views: int = 3) -> list[tuple[TrainRow, ...]]:
    texts = [f"The {('lazy', 'quick')[i % 2]} dog {i}" for i in range(count)]
    return [
        tuple(TrainRow(ids_of(f"{text} {'x' * view}"), i % 2) for view in range(views)) for i, text in enumerate(texts)
    ]


def naive_divergence(p: np.ndarray) -> float:
    """Of distributions [views, classes]: the entropy of their mean less their mean entropy."""

    def entropy(q: np.ndarray) -> float:
        return -float(sum(x * math.log(x) for x in q if x > 0))

    return entropy(p.mean(0)) - float(np.mean([entropy(q) for q in p]))


@given(st.integers(0, 1000), st.integers(2, 4), st.lists(st.integers(1, 3), min_size=1, max_size=4))
@settings(deadline=None, max_examples=40)
def test_divergence_is_that_of_the_definition(seed: int, views: int, places: list[int]) -> None:
    counts = [count for count in places for _ in range(views)]
    logits = torch.tensor(np.random.default_rng(seed).normal(size=(sum(counts), 5)) * 3)
    found = float(consistency_loss(BatchOutput(logits, torch.zeros(len(logits)), counts, 0), views))
    chances, at, wanted = logits.softmax(-1).numpy(), 0, []
    for count in places:
        own = chances[at : at + views * count].reshape(views, count, -1)
        wanted += [naive_divergence(own[:, place]) for place in range(count)]
        at += views * count
    assert found == pytest.approx(float(np.mean(wanted)), abs=1e-9)
    assert -1e-9 <= found <= math.log(views)


def test_divergence_at_its_ends() -> None:
    alike = torch.tensor([[1.0, 2.0]]).repeat(4, 1)
    assert float(consistency_loss(BatchOutput(alike, torch.zeros(4), [1] * 4, 0), 2)) == pytest.approx(0, abs=1e-7)
    apart = torch.tensor([[50.0, -50.0], [-50.0, 50.0]])
    assert float(consistency_loss(BatchOutput(apart, torch.zeros(2), [1, 1], 0), 2)) == pytest.approx(
        math.log(2), abs=1e-6
    )


@given(st.integers(0, 1000), st.lists(st.integers(0, 2), min_size=1, max_size=4))
@settings(deadline=None, max_examples=40)
def test_contrast_is_that_of_the_definition(seed: int, answers: list[int]) -> None:
    views, temperature = 2, 0.3
    states = np.random.default_rng(seed).normal(size=(views * len(answers), 6))
    kinds = [(answer,) for answer in answers for _ in range(views)]
    found = float(contrastive_loss(torch.tensor(states), kinds, views, temperature))
    unit = states / np.linalg.norm(states, axis=1, keepdims=True)
    losses = []
    for i in range(len(states)):
        partner = i + 1 if i % 2 == 0 else i - 1
        near = math.exp(unit[i] @ unit[partner] / temperature)
        far = sum(math.exp(unit[i] @ unit[j] / temperature) for j in range(len(states)) if kinds[j] != kinds[i])
        losses.append(-math.log(near / (near + far)))
    assert found == pytest.approx(float(np.mean(losses)), abs=1e-9)


@pytest.mark.parametrize(
    ("kind", "head"),
    [("gpt_neox", "classification"), ("qwen2", "label_tokens"), ("qwen2", "generation"), ("bert", "classification")],
)
def test_terms_are_those_of_single_forwards(kind: str, head: str) -> None:
    """What a padded batch gives, against logits and states of its rows alone."""
    model = random_model(
        kind, "classification" if head == "classification" else "label_tokens", TOKENIZER.vocabulary, scale=2.0
    )
    reader = make_head(head, model.eval(), TOKENIZER, LABELS if head == "label_tokens" else ())  # type: ignore[arg-type]
    made = groups(3)
    if head == "generation":
        made = [tuple(reply_row(row.ids, (11 + row.label, 12)) for row in group) for group in made]
    loss = ViewLoss(consistency=2.0, contrastive=0.5)
    flat = [row for group in made for row in group]
    batch = collate(flat, reader, 1, CPU)
    with torch.no_grad():
        together = forward_batch(model, reader, batch, states=True)
        total = float(mean_loss(reader, together) + view_loss(together, batch, 3, loss))
        alone = [forward_batch(model, reader, collate([row], reader, 1, CPU), states=True) for row in flat]
        plain, _ = batch_loss(model, reader, batch)
    logits, counts = torch.cat([one.logits for one in alone]), [one.counts[0] for one in alone]
    states = torch.cat([one.states for one in alone if one.states is not None])
    apart = float(consistency_loss(BatchOutput(logits, torch.zeros(len(logits)), counts, 0), 3))
    answers = [(row.label, row.ids[row.start :] if row.start else None) for row in flat]
    near = float(contrastive_loss(states, answers, 3, loss.temperature))
    assert min(apart, near) > (0 if kind == "bert" else 1e-3)
    assert total == pytest.approx(float(plain) + 2.0 * apart + 0.5 * near, abs=1e-4)


def test_views_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    (one, *_), (other, *_) = groups(2)
    model = random_model("gpt_neox", "classification", TOKENIZER.vocabulary)
    for wrong in ([(one, other)], [(one,), (one, one)]):
        with pytest.raises(VictimError, match="must all have its answer"):
            train(model, TOKENIZER, Views(wrong, ViewLoss()), TrainConfig(), seed=0, scratch=tmp_path, progress=silent)


def fit(folder: Path, loss: ViewLoss, progress: Any = silent) -> tuple[Any, Any]:
    torch.manual_seed(0)
    model = random_model("gpt_neox", "classification", TOKENIZER.vocabulary, scale=1.0)
    config = TrainConfig(optimizer="adamw", learning_rate=1e-3, batch_size=4)
    views = Views(groups(12), loss)
    spent = train(model, TOKENIZER, views, config, seed=1, scratch=folder, progress=progress)
    return model.eval(), spent


def test_consistency_brings_the_views_together(tmp_path: Path) -> None:
    """Views whose words say nothing of the label, so that answers differ where nothing holds them together."""
    words = [" ".join(["good", "fine", "bad", "fox", "dog", "lazy"][(i * k) % 6] for k in (1, 2, 3)) for i in range(36)]
    made = [tuple(TrainRow(ids_of(words[3 * i + view]), i % 2) for view in range(3)) for i in range(12)]
    found = {}
    for weight in (0.0, 20.0):
        model = random_model("gpt_neox", "classification", TOKENIZER.vocabulary, scale=2.0)
        config = TrainConfig(optimizer="adamw", learning_rate=1e-3, batch_size=12)
        views = Views(made * 8, ViewLoss(consistency=weight))
        train(model, TOKENIZER, views, config, seed=1, scratch=tmp_path / str(weight), progress=silent)
        reader = make_head("classification", model.eval(), TOKENIZER, ())
        batch = collate([row for group in made for row in group], reader, 1, CPU)
        with torch.no_grad():
            found[weight] = float(consistency_loss(forward_batch(model, reader, batch), 3))
    assert found[0.0] > 0.01
    assert found[20.0] < 0.5 * found[0.0]


def test_rows_are_taken_in_order_and_metered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TrainRow] = []
    real = loop.collate
    monkeypatch.setattr(loop, "collate", lambda rows, *rest: (seen.extend(rows), real(rows, *rest))[1])
    model, spent = fit(tmp_path, ViewLoss(contrastive=0.1))
    flat = [row for group in groups(12) for row in group]
    assert seen == flat
    n = sum(p.numel() for p in model.parameters())
    assert spent.nominal == pytest.approx(6 * n * sum(len(row.ids) for row in flat))
    assert spent.executed > 0


class KilledError(Exception):
    """Stands for kill -9."""


def test_interrupted_training_ends_bit_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = ViewLoss(contrastive=0.3)
    whole, spent = fit(tmp_path / "a", loss)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "_SAVE_SHARE", float("inf"))

    def killed(_what: str, done: float, _total: float) -> None:
        if done == 2:
            raise KilledError

    with pytest.raises(KilledError):
        fit(tmp_path / "b", loss, killed)
    begun: list[float] = []
    resumed, again = fit(tmp_path / "b", loss, lambda _, done, __: begun.append(done))
    assert begun[0] > 0
    assert again == spent
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_generation_heads_read_where_the_reply_begins() -> None:
    model = random_model("qwen2", "label_tokens", TOKENIZER.vocabulary)
    row = reply_row(ids_of("The lazy dog"), (5, 6))
    with torch.no_grad():
        output = forward_batch(model, GenerationHead(model), collate([row], GenerationHead(model), 1, CPU), states=True)
        hidden = model(input_ids=torch.tensor([row.ids]), output_hidden_states=True).hidden_states[-1]
    assert output.states is not None
    assert torch.allclose(output.states[0], hidden[0, (row.start or 0) - 1], atol=1e-5)
