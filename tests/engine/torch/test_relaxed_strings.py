"""Relaxed strings: a torch model reads mixtures of its token embeddings, and tells the gradient by their weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harness.api.model.backend import GradientItem, RelaxedBackend, RelaxedItem, ScoreItem
from harness.engine.dispatch.backend import DispatchBackend
from harness.engine.torch.backend import TorchBackend
from tests.engine.torch.scoring.test_packed import backend

CASES = [("llama", "classification"), ("gpt_neox", "label_tokens"), ("gpt2", "generation"), ("qwen2", "generation")]


def item_of(made: TorchBackend, weights: Any = None, seed: int = 0) -> RelaxedItem:
    rng = np.random.default_rng(seed)
    before, after = (rng.choice(made._ordinary_ids, size=n) for n in (5, 3))
    allowed = np.sort(rng.choice(made._ordinary_ids, size=40, replace=False))
    target = 1 if made.n_labels else tuple(rng.choice(made._ordinary_ids, size=3).tolist())
    return RelaxedItem(before, rng.dirichlet(np.ones(40), 4) if weights is None else weights, after, target, allowed)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "head"), CASES)
def test_corners_are_strings_of_tokens(kind: str, head: str) -> None:
    made = backend(kind, head, "full")
    corner = np.eye(40)[[3, 17, 3, 39]]
    item = item_of(made, corner)
    tokens = item.allowed[[3, 17, 3, 39]]
    (found,) = made.relaxed([item])
    (scored,) = made.score([ScoreItem(item.before, tokens[None], item.after, item.target)])
    assert found.answer.loss == pytest.approx(float(scored.losses[0]), abs=1e-5)
    (asked,) = made.gradient([GradientItem(item.before, tokens, item.after, item.target, item.allowed, 40)])
    wanted = np.take_along_axis(asked.answer.values, np.argsort(asked.answer.tokens, axis=1), axis=1)
    np.testing.assert_allclose(found.answer.gradient, wanted, atol=1e-4 * np.abs(wanted).max())
    assert found.executed > 2 * 2 * 4 * 40  # the mixture and the way back are counted


@pytest.mark.parametrize(("kind", "head"), CASES[1:3])
def test_mixtures_are_those_of_plain_autograd(kind: str, head: str) -> None:
    made = backend(kind, head, "full")
    item = item_of(made)
    weights = torch.tensor(item.weights, dtype=torch.float32, requires_grad=True)
    table = made.model.get_input_embeddings().weight.detach()
    target = [] if made.n_labels else list(item.target)  # type: ignore[call-overload]
    fixed = [torch.as_tensor(np.asarray(ids, dtype=np.int64)) for ids in (item.before, [*item.after, *target])]
    embeds = torch.cat([table[fixed[0]], weights @ table[torch.as_tensor(item.allowed)], table[fixed[1]]])
    logits = made.model(inputs_embeds=embeds[None]).logits[0]
    if made.n_labels:
        own = torch.stack([logits[-1].log_softmax(-1)[label[0]] for label in made.head.labels])  # type: ignore[attr-defined]
        loss = -own.log_softmax(0)[item.target]  # type: ignore[index]
    else:
        log_probs = logits[-len(target) - 1 : -1].log_softmax(-1)
        loss = -log_probs[torch.arange(len(target)), torch.tensor(target)].mean()
    (gradient,) = torch.autograd.grad(loss, weights)
    (found,) = made.relaxed([item])
    assert found.answer.loss == pytest.approx(float(loss.detach()), abs=1e-5)
    likeliest = [own.argmax()] if made.n_labels else log_probs.argmax(-1)
    wanted = [item.target] if made.n_labels else target
    assert found.answer.wrong == sum(int(a) != b for a, b in zip(likeliest, wanted, strict=True))  # type: ignore[arg-type]
    np.testing.assert_allclose(found.answer.gradient, gradient.numpy(), atol=1e-4 * float(gradient.abs().max()))


@pytest.mark.parametrize(("kind", "head"), CASES)
def test_the_target_that_the_model_would_say_itself_has_no_wrong_token(kind: str, head: str) -> None:
    made = backend(kind, head, "full")
    item, found = item_of(made), []
    row = np.concatenate([item.before, item.allowed[:4], item.after])
    if made.n_labels:
        said: Any = int(made.classify([row])[0][0].argmax())
        others: Any = [1 - said]
    else:
        ids = torch.as_tensor(row)[None]
        for _ in range(4):
            ids = torch.cat([ids, made.model(ids).logits[:, -1:].argmax(-1)], 1)
        said = tuple(ids[0, -4:].tolist())
        others = [(*said[:3], (said[3] + 1) % 50), ((said[0] + 1) % 50,)]
    for target in (said, *others):
        (answer,) = made.relaxed([replace(item, weights=np.eye(40)[:4], target=target)])
        found.append(answer.answer.wrong)
    assert found == [0, *(1 for _ in others)]


def test_items_are_answered_each_for_itself() -> None:
    made = backend("llama", "classification", "full")
    items = [item_of(made, seed=seed) for seed in range(3)]
    together = made.relaxed(items)
    for item, found in zip(items, together, strict=True):
        (alone,) = made.relaxed([item])
        assert found.answer.loss == pytest.approx(alone.answer.loss, abs=1e-5)
        np.testing.assert_allclose(found.answer.gradient, alone.answer.gradient, atol=1e-5)


def test_backends_say_whether_they_read_them() -> None:
    made = backend("llama", "classification", "full")
    assert "relaxed" in made.abilities
    assert isinstance(made, RelaxedBackend)
    assert issubclass(DispatchBackend, RelaxedBackend)
