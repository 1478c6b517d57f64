"""Losses of a target text as a mellowmax of its tokens' NLLs: the law itself, and every path of the torch backend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from harness.api.model.backend import GradientItem, ScoreItem
from harness.api.model.mellowmax import Mellowmax
from harness.engine.losses import text_loss
from harness.engine.torch.gradients.embeddings import summed_loss
from tests.engine.torch.scoring.test_packed import backend, items_for

numbers = st.lists(st.floats(-30, 30), min_size=1, max_size=8).map(np.asarray)
alphas = st.floats(1e-3, 1e3)


@given(numbers, alphas)
def test_it_lies_between_the_mean_and_the_largest(values: Any, alpha: float) -> None:
    found = float(Mellowmax(alpha).of(values))
    assert values.mean() - 1e-9 <= found <= values.max() + 1e-9
    assert float(Mellowmax(1e-9).of(values)) == pytest.approx(values.mean(), abs=1e-5)
    assert float(Mellowmax(1e9).of(values)) == pytest.approx(values.max(), abs=1e-5)


@given(numbers, alphas, st.floats(1.0, 10.0), st.integers(0, 7), st.floats(0, 5))
def test_it_rises_with_alpha_and_with_each_number(
    values: Any, alpha: float, factor: float, at: int, more: float
) -> None:
    found = float(Mellowmax(alpha).of(values))
    assert float(Mellowmax(alpha * factor).of(values)) >= found - 1e-9
    higher = values.copy()
    higher[at % len(values)] += more
    assert found - 1e-9 <= float(Mellowmax(alpha).of(higher)) <= found + more + 1e-9
    assert float(Mellowmax(alpha).of(values + more)) == pytest.approx(found + more, abs=1e-6)


@given(st.lists(numbers, min_size=1, max_size=1), st.floats(1e-2, 20))
def test_one_token_leaves_nothing_to_choose(values: Any, alpha: float) -> None:
    assert float(text_loss(values[0][:1], Mellowmax(alpha))) == pytest.approx(float(text_loss(values[0][:1])), abs=1e-9)


@given(st.integers(0, 10**6), st.floats(0.05, 10))
def test_its_gradient_is_that_of_finite_differences(seed: int, alpha: float) -> None:
    """Rows of one call may be put together differently."""
    rng = np.random.default_rng(seed)
    log_probs, overs = -rng.exponential(2.0, (3, 4)), [Mellowmax(alpha), None, Mellowmax(2 * alpha)]
    leaf = torch.tensor(log_probs, requires_grad=True)
    loss = summed_loss(leaf, torch.zeros(3, 4, dtype=torch.long), overs)
    (gradient,) = torch.autograd.grad(loss, leaf)

    def total(values: Any) -> float:
        return sum(float(text_loss(row, over)) for row, over in zip(values, overs, strict=True))

    assert float(loss.detach()) == pytest.approx(total(log_probs))
    step = 1e-5 * rng.normal(size=log_probs.shape)
    slope = (total(log_probs + step) - total(log_probs - step)) / 2
    assert slope == pytest.approx(float((gradient.numpy() * step).sum()), rel=1e-4, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf"), float("nan")])
def test_no_other_alpha(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"Mellowmax\.alpha must be above 0"):
        Mellowmax(alpha)


def plain_autograd(made: Any, item: GradientItem) -> tuple[float, np.ndarray[Any, Any]]:
    """Loss of one unpacked forward from embeddings, and the gradient by one-hot encodings of the allowed ids."""
    table = made.model.get_input_embeddings().weight.detach()
    embeds = table[torch.as_tensor(item.tokens)].clone().requires_grad_(True)
    assert isinstance(item.target, tuple)
    before, after = (torch.as_tensor(np.asarray(ids)) for ids in (item.before, [*item.after, *item.target]))
    whole = torch.cat([table[before], embeds, table[after]])
    logits = made.model(inputs_embeds=whole[None]).logits[0, -len(item.target) - 1 : -1]
    nlls = -logits.log_softmax(-1)[torch.arange(len(item.target)), torch.tensor(item.target)]
    assert item.over is not None
    loss = (item.over.alpha * nlls).exp().mean().log() / item.over.alpha
    (gradient,) = torch.autograd.grad(loss, embeds)
    return float(loss.detach()), (gradient @ table[torch.as_tensor(item.allowed)].T).numpy()


@pytest.mark.parametrize("strategy", ["auto", "packed", "copied_prefix", "full"])
@pytest.mark.parametrize("kind", ["qwen2", "gpt2"])
def test_every_way_to_score_and_differentiate_gives_that_of_plain_autograd(kind: str, strategy: str) -> None:
    made, rng = backend(kind, "generation", strategy), np.random.default_rng(3)
    items = []
    for alpha in (0.3, 1.0, 4.0):
        before, tokens, after = (rng.choice(made._ordinary_ids, size=n) for n in (6, 4, 3))
        target = tuple(rng.choice(made._ordinary_ids, size=5).tolist())
        items.append(GradientItem(before, tokens, after, target, made._ordinary_ids, 10**6, Mellowmax(alpha)))
    items.append(replace(items[0], over=None))  # answered together with others
    found = made.gradient(items)
    for item, answered in zip(items[:3], found[:3], strict=True):
        loss, wanted = plain_autograd(made, item)
        ours = np.take_along_axis(answered.answer.values, np.argsort(answered.answer.tokens, axis=1), axis=1)
        assert answered.answer.loss == pytest.approx(loss, abs=1e-5)
        np.testing.assert_allclose(ours, wanted, atol=1e-4 * np.abs(wanted).max())
    candidates = [np.stack([item.tokens, np.roll(item.tokens, 1)]) for item in items]
    scored = made.score(
        [
            ScoreItem(item.before, rows, item.after, item.target, item.tokens, over=item.over)
            for item, rows in zip(items, candidates, strict=True)
        ]
    )
    for item, rows, answer in zip(items[:3], candidates, scored, strict=False):
        wanted_losses = [plain_autograd(made, replace(item, tokens=row))[0] for row in rows]
        np.testing.assert_allclose(answer.losses, wanted_losses, atol=1e-5)
    assert scored[3].losses[0] == pytest.approx(found[3].answer.loss, abs=1e-5)
    assert scored[3].losses[0] < scored[0].losses[0]


@pytest.mark.parametrize("head", ["classification", "label_tokens"])
def test_of_labels_it_changes_nothing(head: str) -> None:
    made = backend("qwen2", head)
    items = items_for(made, 5)
    for plain, other in zip(
        made.score(items), made.score([replace(item, over=Mellowmax(3.0)) for item in items]), strict=True
    ):
        np.testing.assert_array_equal(plain.losses, other.losses)
    allowed, several = made._ordinary_ids, [item for item in items if item.candidates.size]
    asked = [GradientItem(i.before, i.candidates[0], i.after, i.target, allowed, 9) for i in several]
    for wanted, found in zip(
        made.gradient(asked), made.gradient([replace(item, over=Mellowmax(3.0)) for item in asked]), strict=True
    ):
        assert wanted.answer.loss == found.answer.loss
        np.testing.assert_array_equal(wanted.answer.values, found.answer.values)
