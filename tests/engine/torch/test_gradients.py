"""Packed gradients against plain ones, and what they hand on to the scores that follow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.utils.flop_counter import FlopCounterMode

from harness.api.model.backend import Differentiated, GradientItem, ScoreItem
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.scoring import head_reader
from harness.errors import VictimError
from tests.engine.torch.scoring.test_packed import FALLEN, PACKED, backend, items_for, model_of
from tests.engine.torch.test_flop_counter import CPU_KERNELS


def strings_of(items: list[ScoreItem], allowed: np.ndarray[Any, Any], top: int = 5) -> list[GradientItem]:
    return [GradientItem(i.before, i.candidates[0], i.after, i.target, allowed, top) for i in items]


def facts_of(made: TorchBackend) -> dict[str, Any]:
    facts = made.describe()["gradients"]
    assert isinstance(facts, dict)
    return facts


def assert_equal(found: list[Differentiated], wanted: list[Differentiated], tolerance: float = 1e-4) -> None:
    """Of all allowed tokens (``top`` is their number), so that near ties may change places."""
    for got, want in zip(found, wanted, strict=True):
        assert got.answer.loss == pytest.approx(want.answer.loss, abs=1e-5)
        order = [np.argsort(answer.tokens, axis=1) for answer in (got.answer, want.answer)]
        ours, theirs = (
            np.take_along_axis(answer.values, at, 1)
            for answer, at in zip((got.answer, want.answer), order, strict=True)
        )
        np.testing.assert_allclose(ours, theirs, atol=tolerance * np.abs(theirs).max(initial=1e-9))


@pytest.mark.parametrize(("kind", "head"), PACKED)
def test_packed_gradients_agree_with_plain_ones(kind: str, head: str) -> None:
    made, plain = backend(kind, head), backend(kind, head, "full")
    allowed = made._ordinary_ids
    items = strings_of(items_for(made, 7), allowed, len(allowed))
    found = made.gradient(items)
    assert facts_of(made)["packed"], facts_of(made)
    assert facts_of(made)["difference"] < 1e-4
    assert not facts_of(plain)["packed"] if plain.gradient(items[:1]) else True
    assert_equal(found, plain.gradient(items))


@pytest.mark.parametrize(("kind", "head"), [("llama", "generation"), ("opt", "label_tokens")])
def test_gradients_go_through_logits_that_are_read_in_parts(
    kind: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backend(kind, head)
    items = strings_of(items_for(made, 9), made._ordinary_ids, len(made._ordinary_ids))
    wanted = made.gradient(items)
    monkeypatch.setattr(head_reader, "max_head_values", lambda _: 1)
    found = made.gradient(items)
    assert facts_of(made)["packed"]
    assert_equal(found, wanted)


@pytest.mark.parametrize(("kind", "head"), FALLEN)
def test_other_models_have_plain_gradients(kind: str, head: str) -> None:
    made, plain = backend(kind, head), backend(kind, head, "full")
    items = strings_of(items_for(made, 7), made._ordinary_ids, len(made._ordinary_ids))
    assert_equal(made.gradient(items), plain.gradient(items))
    assert not facts_of(made)["packed"]


shapes = st.tuples(st.integers(0, 9), st.integers(0, 6), st.integers(0, 4)).filter(lambda shape: sum(shape) > 0)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "head"), [("gpt_neox", "classification"), ("qwen2", "generation")])
@given(seed=st.integers(0, 2**32 - 1), drawn=st.lists(shapes, min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_any_shapes_together(kind: str, head: str, seed: int, drawn: list[tuple[int, int, int]]) -> None:
    made, plain = backend(kind, head), backend(kind, head, "full")
    rng = np.random.default_rng(seed)
    allowed = made._ordinary_ids
    items = []
    for lengths in drawn:
        before, tokens, after = (rng.choice(allowed, size=n) for n in lengths)
        target = 1 if made.n_labels else tuple(rng.choice(allowed, size=rng.integers(1, 4)).tolist())
        items.append(GradientItem(before, tokens, after, target, allowed, len(allowed)))
    together = made.gradient(items)
    assert_equal(together, plain.gradient(items))
    assert_equal(together, [made.gradient([item])[0] for item in items])


@pytest.mark.parametrize("head", ["classification", "label_tokens", "generation"])
@pytest.mark.parametrize("kind", ["gpt_neox", "llama", "qwen3", "gpt2"])
def test_executed_agrees_with_the_counter(kind: str, head: str) -> None:
    model, tokenizer = model_of(kind, head)
    labels = ("a", " User password") if head == "label_tokens" else ()
    made = TorchBackend(model, tokenizer, head, labels)  # type: ignore[arg-type]
    drawn = items_for(made, 3)
    (item,) = strings_of([max(drawn, key=lambda i: len(i.before))], made._ordinary_ids)
    made.gradient([replace(item, before=item.before[:0])])  # what is measured once
    with FlopCounterMode(display=False, custom_mapping=CPU_KERNELS) as counter:
        (found,) = made.gradient([item])
    assert found.executed == pytest.approx(counter.get_total_flops(), rel=0.01)
    (again,) = made.gradient([item])
    assert again.executed < 0.9 * found.executed  # what stands before the string is remembered


@pytest.mark.parametrize("head", ["classification", "generation"])
def test_scores_reuse_what_the_gradient_computed(head: str) -> None:
    made, plain = backend("qwen2", head), backend("qwen2", head, "full")
    made.begin([])
    rng = np.random.default_rng(0)
    before, near, after = (rng.choice(made._ordinary_ids, size=n) for n in (11, 9, 3))
    candidates = np.repeat(near[None], 30, 0)
    candidates[np.arange(30), rng.integers(3, 9, size=30)] = rng.choice(made._ordinary_ids, size=30)
    target = 1 if made.n_labels else tuple(rng.choice(made._ordinary_ids, size=3).tolist())
    item = ScoreItem(before, candidates, after, target, near)
    made.score([item])  # remembers what stands before
    alone = made.score([item])[0]
    made.gradient(strings_of([replace(item, candidates=near[None])], made._ordinary_ids))
    after_gradient = made.score([item])[0]
    assert after_gradient.executed < alone.executed
    np.testing.assert_allclose(after_gradient.losses, plain.score([item])[0].losses, atol=1e-5)
    made.begin_step()
    assert made.score([item])[0].executed == alone.executed


def test_out_of_memory_halves_the_rows_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = model_of("gpt_neox", "classification")
    made = TorchBackend(model, tokenizer)
    items = strings_of(items_for(made, 4), made._ordinary_ids, len(made._ordinary_ids)) * 4
    expected = made.gradient(items)
    scorer = made.scorer.packed
    assert scorer is not None
    original, tried = scorer.reader.read, []

    def scarce(forward: Any, pieces: Any, ids: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        tried.append(ids.shape[1])
        if ids.shape[1] > 30:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(forward, pieces, ids, *others)

    monkeypatch.setattr(scorer.reader, "read", scarce)
    assert_equal(made.gradient(items), expected)
    assert tried[0] > 30 >= tried[-1]
    tried.clear()
    made.gradient(items)
    assert max(tried) <= 30
    monkeypatch.setattr(scorer.reader, "read", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(VictimError, match="out of memory on one row"):
        made.gradient(items)


def test_a_wrong_packed_gradient_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.engine.torch.scoring.packed import attention

    right = attention.attend_differentiably
    monkeypatch.setattr(attention, "attend_differentiably", lambda *args: right(*args) * 1.01)
    model, tokenizer = model_of("llama", "classification")
    made, plain = TorchBackend(model, tokenizer), backend("llama", "classification", "full")
    items = strings_of(items_for(made, 5), made._ordinary_ids, len(made._ordinary_ids))
    assert_equal(made.gradient(items), plain.gradient(items))
    assert "differ from an eager" in facts_of(made)["reason"]


def test_a_target_of_the_wrong_sort_is_refused() -> None:
    labelled, text = backend("qwen2", "classification"), backend("qwen2", "generation")
    (item,) = items_for(labelled, 1)[:1]
    with pytest.raises(VictimError, match="takes label indices"):
        labelled.score([replace(item, target=(3, 4))])
    with pytest.raises(VictimError, match="ids of a text"):
        text.score([replace(item, target=0)])
    with pytest.raises(VictimError, match="ids of a text"):
        text.score([replace(item, target=())])
