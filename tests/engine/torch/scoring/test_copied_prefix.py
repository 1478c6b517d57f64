"""Scoring behind prefixes copied for each candidate, against full forwards, on tiny random decoders of many kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from hypothesis import given, settings, strategies as st
from torch.utils.flop_counter import FlopCounterMode

from harness.api.model.backend import Scored, ScoreItem
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.scoring.kv_copies import CopiedPrefixLayer
from harness.engine.torch.token_rows import whole_rows
from harness.errors import VictimError
from tests.engine.torch.scoring import test_packed as packed
from tests.engine.torch.scoring.test_packed import (
    COMMON,
    CONFIGS,
    GROUPED,
    HEADS,
    backend,
    items_for,
    model_of,
    scoring,
)
from tests.engine.torch.test_flop_counter import CPU_KERNELS

LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 4,
    "long_factor": [3.0] * 4,
    "original_max_position_embeddings": 16,
    "factor": 8.0,
}
MORE: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "falcon, ALiBi": (
        tf.FalconConfig,
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "alibi": True},
    ),
    "mpt": (tf.MptConfig, {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128}),
    "gptj": (tf.GPTJConfig, {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "n_positions": 128}),
    "bigcode": (tf.GPTBigCodeConfig, {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}),
    "phi3, longrope": (tf.Phi3Config, {**GROUPED, "rope_parameters": LONGROPE, "original_max_position_embeddings": 16}),
    "stablelm": (tf.StableLmConfig, {**COMMON, "num_key_value_heads": 4}),
}
packed.CONFIGS.update(MORE)
CASES = [(kind, head) for kind in CONFIGS for head in HEADS if kind not in ("mamba", "bert")]


def all_outputs(scored: list[Scored]) -> np.ndarray[Any, Any]:
    return np.concatenate([np.c_[answer.logits, answer.losses].ravel() for answer in scored])


def long_items(made: TorchBackend, seed: int) -> list[ScoreItem]:
    """Items longer than any window in the configurations, next to short ones."""
    rng = np.random.default_rng(seed)
    before, near, after = (rng.choice(made._ordinary_ids, size=n) for n in (40, 6, 5))
    candidates = rng.choice(made._ordinary_ids, size=(9, 6))
    target: int | tuple[int, ...] = 1 if made.n_labels else tuple(rng.choice(made._ordinary_ids, size=3).tolist())
    return [*items_for(made, seed), ScoreItem(before, candidates, after, target, near)]


@pytest.mark.parametrize(("kind", "head"), CASES)
def test_copied_prefixes_agree_with_full_forwards(kind: str, head: str) -> None:
    made, plain = backend(kind, head, "copied_prefix"), backend(kind, head, "full")
    assert made.scorer.strategy == "copied_prefix", scoring(made)
    assert scoring(made)["difference"] < 1e-5
    items = long_items(made, 5)
    np.testing.assert_allclose(all_outputs(made.score(items)), all_outputs(plain.score(items)), atol=1e-5)


@pytest.mark.parametrize(
    "kind", ["gpt_neox", "qwen2", "gpt2", "opt", "bloom", "gemma2, scores capped", "falcon, ALiBi"]
)
@pytest.mark.parametrize("head", HEADS)
def test_executed_agrees_with_the_counter(kind: str, head: str) -> None:
    made = backend(kind, head, "copied_prefix")
    items = long_items(made, 8)
    made.score(items)
    assert made.scorer.copied is not None
    made.scorer.copied.cache.clear()
    spent = []
    for _ in ("prefixes computed", "prefixes remembered"):
        with FlopCounterMode(display=False, custom_mapping=CPU_KERNELS) as counter:
            found = made.score(items)
        spent.append(sum(answer.executed for answer in found))
        assert spent[-1] == pytest.approx(counter.get_total_flops(), rel=0.01)
    assert spent[1] < spent[0]


shape = st.tuples(st.integers(0, 9), st.integers(0, 7), st.integers(0, 4), st.integers(0, 12), st.booleans())


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "head"), [("bloom", "classification"), ("gemma2, scores capped", "label_tokens")])
@given(
    seed=st.integers(0, 2**32 - 1),
    shapes=st.lists(shape.filter(lambda one: sum(one[:3]) > 0), min_size=1, max_size=5),
    tokens=st.sampled_from([1, 7, 40, 4096]),
)
@settings(max_examples=15, deadline=None)
def test_any_shapes(kind: str, head: str, seed: int, shapes: list[Any], tokens: int) -> None:
    made, plain = (
        TorchBackend(*model_of(kind, head), head, ("a", "b"), strategy="copied_prefix"),
        backend(kind, head, "full"),
    )
    rng = np.random.default_rng(seed)
    items = [packed.draw(rng, plain._ordinary_ids, one) for one in shapes]
    _ = scoring(made), plain.score(items)
    made._chunkers["score"].tokens = tokens
    with FlopCounterMode(display=False, custom_mapping=CPU_KERNELS) as counter:
        found = made.score(items)
    np.testing.assert_allclose(all_outputs(found), all_outputs(plain.score(items)), atol=1e-5)
    assert sum(answer.executed for answer in found) == pytest.approx(counter.get_total_flops(), rel=0.01)
    alone = [made.score([item])[0] for item in items]
    np.testing.assert_allclose(all_outputs(found), all_outputs(alone), atol=1e-5)


def test_examples_of_one_shape_share_a_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    made = backend("bloom", "generation", "copied_prefix")
    rng = np.random.default_rng(0)
    items = [
        ScoreItem(
            rng.choice(made._ordinary_ids, 8),
            rng.choice(made._ordinary_ids, (5, 4)),
            rng.choice(made._ordinary_ids, 2),
            (7, at),
        )
        for at in range(3, 6)
    ]
    made.begin([item.before for item in items])
    copied = made.scorer.copied
    assert copied is not None
    rows, original = [], copied.model.forward

    def watched(input_ids: torch.Tensor, **others: Any) -> Any:
        rows.append(tuple(input_ids.shape))
        return original(input_ids=input_ids, **others)

    monkeypatch.setattr(copied.model, "forward", watched)
    found = made.score(items)
    assert rows == [(15, 7)]
    np.testing.assert_allclose(
        all_outputs(found), all_outputs(backend("bloom", "generation", "full").score(items)), atol=1e-5
    )


def test_where_a_run_was_stopped_changes_nothing() -> None:
    model, tokenizer = model_of("bloom", "classification")
    steps = [items_for(backend("bloom", "classification"), seed) for seed in (1, 2, 3)]
    befores = [item.before for step in steps for item in step]
    in_one_go, resumed = TorchBackend(model, tokenizer), TorchBackend(model, tokenizer)
    in_one_go.begin(befores)
    answers = [in_one_go.score(step) for step in steps]
    resumed.begin(befores)
    again = resumed.score(steps[-1])
    np.testing.assert_array_equal(all_outputs(again), all_outputs(answers[-1]))
    assert [a.executed for a in again] == [a.executed for a in answers[-1]]


def test_remembered_prefixes_follow_the_weights() -> None:
    model, tokenizer = model_of("bloom", "classification")
    made, plain = TorchBackend(model, tokenizer), TorchBackend(model, tokenizer, strategy="full")
    items = items_for(made, 3)
    first = all_outputs(made.score(items))
    weight = model.base_model.h[0].self_attention.query_key_value.weight
    with torch.no_grad():
        weight.mul_(0.5)
    try:
        changed = all_outputs(made.score(items))
        np.testing.assert_allclose(changed, all_outputs(plain.score(items)), atol=1e-5)
        assert np.abs(changed - first).max() > 1e-3
    finally:
        with torch.no_grad():
            weight.mul_(2)


def test_rows_longer_than_the_window_are_scored_behind_copies() -> None:
    made, plain = (
        backend("mistral, window of 12", "label_tokens"),
        backend("mistral, window of 12", "label_tokens", "full"),
    )
    facts = scoring(made)
    assert (facts["path"], facts["longest_packed_row"], facts["longer_rows"]) == ("D", 12, "B")
    items = long_items(made, 2)
    made.begin([item.before for item in items])
    found, wanted = made.score(items), plain.score(items)
    np.testing.assert_allclose(all_outputs(found), all_outputs(wanted), atol=1e-5)
    assert found[-1].executed < 0.4 * wanted[-1].executed


def test_rows_beyond_the_first_stretch_of_a_long_rotary_take_full_forwards() -> None:
    kind = "phi3, longrope"
    made, plain = backend(kind, "classification"), backend(kind, "classification", "full")
    assert made.scorer.strategy == "copied_prefix"
    assert "longrope" in scoring(made)["reason"]
    items = long_items(made, 2)
    rows = [whole_rows(item) for item in items]
    short = {i for i, own in enumerate(rows) if own.shape[1] <= 16}
    assert set(made.scorer.score_shared(items, rows)) == short
    assert 0 < len(short) < len(items)
    np.testing.assert_allclose(all_outputs(made.score(items)), all_outputs(plain.score(items)), atol=1e-5)


def test_out_of_memory_halves_the_rows_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = model_of("bloom", "classification")
    made = TorchBackend(model, tokenizer, chunk_tokens=500)
    items = long_items(made, 4)
    expected = all_outputs(made.score(items))
    original, tried = model.base_model.forward, []

    def scarce(input_ids: torch.Tensor, **others: Any) -> Any:
        tried.append(input_ids.numel())
        if input_ids.numel() > 40 and len(input_ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(input_ids=input_ids, **others)

    monkeypatch.setattr(model.base_model, "forward", scarce)
    np.testing.assert_allclose(all_outputs(made.score(items)), expected, atol=1e-5)
    assert max(tried) > 40
    tried.clear()
    made.score(items)
    assert max(tried) <= 40
    monkeypatch.setattr(model.base_model, "forward", lambda *_, **__: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(VictimError, match="out of memory on one row"):
        made.score(items)


def test_wrong_copies_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    original = CopiedPrefixLayer._after_copies
    monkeypatch.setattr(CopiedPrefixLayer, "_after_copies", lambda *a: original(*a).roll(1, 2))
    model, tokenizer = model_of("bloom", "classification")
    made, plain = TorchBackend(model, tokenizer), backend("bloom", "classification", "full")
    items = items_for(made, 5)
    np.testing.assert_array_equal(all_outputs(made.score(items)), all_outputs(plain.score(items)))
    assert made.scorer.strategy == "full"
    assert "copied prefixes differ from an eager forward" in scoring(made)["reason"]


def test_memory_for_copies_and_prefixes_is_bounded() -> None:
    made, plain = (
        TorchBackend(*model_of("bloom", "classification"), strategy="copied_prefix"),
        backend("bloom", "classification", "full"),
    )
    items = [*long_items(made, 6), *long_items(made, 7)]
    made.score(items)
    copied = made.scorer.copied
    assert copied is not None
    copied._copy_bytes, copied.cache.limit = 3 * 51 * 32 * 4 * 2, 41 * 2 * 2 * 32 * 4
    copied.cache.clear()
    np.testing.assert_allclose(all_outputs(made.score(items)), all_outputs(plain.score(items)), atol=1e-5)
    assert 0 < copied.cache.used <= copied.cache.limit
