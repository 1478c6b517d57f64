"""Packed scoring, with and without reuse, against full forwards of every row, on tiny random decoders of many kinds."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from hypothesis import given, settings, strategies as st
from torch.utils.flop_counter import FlopCounterMode

from harness.api.model.backend import Scored, ScoreItem
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.scoring import head_reader
from harness.engine.torch.scoring.kv_cache import PrefixCache, PrefixKV
from harness.engine.torch.scoring.packed.reuse_plan import cheapest_starts, first_differences, plan_pieces
from harness.engine.torch.scoring.scorer_check import random_items
from harness.engine.torch.token_rows import whole_rows
from harness.errors import VictimError
from harness.tokens.hf_tokenizer import HFTokenizer
from tests.engine.hub_models import byte_bpe, scaled_model, word_piece
from tests.engine.torch.test_flop_counter import CPU_KERNELS

HEADS = ("classification", "label_tokens", "generation")
COMMON: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
}
GROUPED = {**COMMON, "num_key_value_heads": 2}
GEMMA = {**GROUPED, "head_dim": 8, "query_pre_attn_scalar": 8, "final_logit_softcapping": 2.0}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
OPT = {**COMMON, "ffn_dim": 64, "word_embed_proj_dim": 32}
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
CONFIGS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "gpt_neox": (tf.GPTNeoXConfig, COMMON),
    "llama": (tf.LlamaConfig, GROUPED),
    "qwen2": (tf.Qwen2Config, GROUPED),
    "qwen3": (tf.Qwen3Config, {**GROUPED, "head_dim": 16}),
    "phi3": (tf.Phi3Config, GROUPED),
    "gpt2": (tf.GPT2Config, GPT2),
    "opt": (tf.OPTConfig, OPT),
    "gemma3": (tf.Gemma3TextConfig, {**GROUPED, "head_dim": 8}),
    "mistral, window of 12": (tf.MistralConfig, {**GROUPED, "sliding_window": 12}),
    "gemma2, scores capped": (tf.Gemma2Config, {**GEMMA, "attn_logit_softcapping": 1.0}),
    "gemma2, scores not capped": (tf.Gemma2Config, {**GEMMA, "attn_logit_softcapping": None}),
    "llama, dynamic rotary": (tf.LlamaConfig, {**GROUPED, "rope_parameters": DYNAMIC}),
    "bloom": (tf.BloomConfig, {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "mamba": (tf.MambaConfig, {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
    "bert": (tf.BertConfig, COMMON),
}
REFUSED = {
    "gemma2, scores capped": "softcap",
    "llama, dynamic rotary": "dynamic",
    "bloom": "positions",
    "mamba": "linear_attention",
    "bert": "no classification head on the last token",
}
PACKED = [(kind, head) for kind in CONFIGS if kind not in REFUSED for head in HEADS]
FALLEN = [(kind, head) for kind in REFUSED for head in HEADS]
NO_SUCH_MODEL = (("mamba", "classification"), ("bert", "label_tokens"), ("bert", "generation"))
FALLEN = [case for case in FALLEN if case not in NO_SUCH_MODEL]


@cache
def model_of(kind: str, head: str) -> tuple[Any, HFTokenizer]:
    tokenizer = HFTokenizer(word_piece() if kind == "bert" else byte_bpe())
    make, sizes = CONFIGS[kind]
    return scaled_model(make(**common_settings(tokenizer), **sizes), head != "classification"), tokenizer


def common_settings(tokenizer: HFTokenizer) -> dict[str, int]:
    """What the configuration of any kind of model takes."""
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 0}
    return {"vocab_size": tokenizer.vocabulary, "num_labels": 2, **special}


@cache
def backend(kind: str, head: str, strategy: str = "auto") -> TorchBackend:
    model, tokenizer = model_of(kind, head)
    labels = ("a", "b") if head == "label_tokens" else ()
    return TorchBackend(model, tokenizer, head, labels, strategy=strategy)  # type: ignore[arg-type]


def scoring(made: TorchBackend) -> dict[str, Any]:
    facts = made.describe()["scoring"]
    assert isinstance(facts, dict)
    return facts


def items_for(made: TorchBackend, seed: int) -> list[ScoreItem]:
    return random_items(made._ordinary_ids, 100, seed=seed, labels=made.n_labels > 0)


def logits(scored: list[Scored]) -> np.ndarray[Any, Any]:
    return np.concatenate([answer.logits for answer in scored])


@pytest.mark.parametrize(("kind", "head"), PACKED)
def test_packed_rows_agree_with_full_forwards(kind: str, head: str) -> None:
    made, plain = backend(kind, head), backend(kind, head, "full")
    assert made.scorer.strategy == "packed_reuse", scoring(made)
    assert scoring(made)["difference"] < 1e-5
    items = items_for(made, 5)
    found, wanted = made.score(items), plain.score(items)
    if made.n_labels:
        np.testing.assert_allclose(logits(found), logits(wanted), atol=1e-5)
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got.losses, want.losses, atol=1e-5)


@pytest.mark.parametrize(("kind", "head"), FALLEN)
def test_what_cannot_be_packed_falls_back_in_words(kind: str, head: str) -> None:
    made, plain = backend(kind, head), backend(kind, head, "full")
    facts = scoring(made)
    assert made.scorer.strategy == ("full" if kind in ("mamba", "bert") else "copied_prefix")
    assert REFUSED[kind] in facts["reason"]
    items = items_for(made, 5)
    for got, want in zip(made.score(items), plain.score(items), strict=True):
        np.testing.assert_allclose(got.losses, want.losses, atol=0 if made.scorer.strategy == "full" else 1e-5)


def test_rows_longer_than_the_window_are_not_packed() -> None:
    made = backend("mistral, window of 12", "classification")
    assert scoring(made)["longest_packed_row"] == 12
    items = items_for(made, 2)
    rows = [whole_rows(item) for item in items]
    short = {i for i, own in enumerate(rows) if own.shape[1] <= 12}
    assert set(made.scorer.score_packed(items, rows)) == short
    assert 0 < len(short) < len(items)


def draw(rng: np.random.Generator, usable: np.ndarray[Any, Any], shape: tuple[int, int, int, int, bool]) -> ScoreItem:
    before, width, after, count, near = shape
    current = rng.choice(usable, size=width)
    candidates = np.repeat(current[None], count, 0)
    for row in candidates:
        if width and rng.random() < 0.9:
            at = rng.integers(0, width)
            row[at:] = np.where(rng.random(width - at) < 0.5, row[at:], rng.choice(usable, size=width - at))
    ends = rng.choice(usable, size=before), rng.choice(usable, size=after)
    return ScoreItem(ends[0], candidates, ends[1], int(rng.integers(0, 2)), current if near else None)


shapes = st.tuples(st.integers(0, 9), st.integers(0, 7), st.integers(0, 4), st.integers(0, 12), st.booleans())


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "head"), [("gpt_neox", "classification"), ("qwen2", "label_tokens")])
@given(
    seed=st.integers(0, 2**32 - 1),
    items=st.lists(shapes.filter(lambda shape: sum(shape[:3]) > 0), min_size=1, max_size=5),
    tokens=st.sampled_from([1, 7, 40, 4096]),
)
@settings(max_examples=12, deadline=None)
def test_any_shapes(kind: str, head: str, seed: int, items: list[tuple[int, int, int, int, bool]], tokens: int) -> None:
    made, plain = backend(kind, head), backend(kind, head, "full")
    rng = np.random.default_rng(seed)
    drawn = [draw(rng, made._ordinary_ids, shape) for shape in items]
    chunker = made._chunkers["score"]
    _, chunker.tokens = scoring(made), tokens
    try:
        with FlopCounterMode(display=False, custom_mapping=CPU_KERNELS) as counter:
            found = made.score(drawn)
    finally:
        chunker.tokens = 4096
    np.testing.assert_allclose(logits(found), logits(plain.score(drawn)), atol=1e-5)
    assert sum(answer.executed for answer in found) == pytest.approx(counter.get_total_flops(), rel=0.01)
    alone = [made.score([item])[0] for item in drawn]
    np.testing.assert_allclose(logits(found), logits(alone), atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt_neox", "llama", "qwen3", "gpt2", "opt", "phi3"])
@pytest.mark.parametrize("head", HEADS)
def test_executed_agrees_with_the_counter(kind: str, head: str) -> None:
    made = backend(kind, head)
    items = items_for(made, 8)
    made.score(items)
    made.scorer.packed.cache.clear()  # type: ignore[union-attr]
    for _ in ("prefixes computed", "prefixes remembered"):
        with FlopCounterMode(display=False, custom_mapping=CPU_KERNELS) as counter:
            found = made.score(items)
        assert sum(answer.executed for answer in found) == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_reuse_saves_compute_and_strategies_can_be_asked_for() -> None:
    rng = np.random.default_rng(0)
    model, tokenizer = model_of("gpt_neox", "classification")
    names = ("full", "packed", "packed_reuse")
    made = {name: TorchBackend(model, tokenizer, strategy=name) for name in names}  # type: ignore[arg-type]
    near = rng.choice(made["full"]._ordinary_ids, size=10)
    candidates = np.repeat(near[None], 256, 0)  # for fewer, more groups would not pay
    candidates[np.arange(256), rng.integers(0, 10, 256)] = 50
    item = ScoreItem(np.arange(20, 60), candidates, np.arange(60, 64), 1, near)
    found = {name: one.score([item])[0] for name, one in made.items()}
    assert found["packed_reuse"].executed < 0.8 * found["packed"].executed < 0.3 * found["full"].executed
    assert {name: one.scorer.strategy for name, one in made.items()} == {name: name for name in names}
    assert [scoring(one)["path"] for one in made.values()] == ["A", "C", "D"], "records keep the letters"
    again = made["packed_reuse"].score([item])[0]
    assert again.executed < found["packed_reuse"].executed  # what stands before is remembered
    np.testing.assert_array_equal(again.logits, found["packed_reuse"].logits)


def test_resuming_gives_the_same_bits() -> None:
    made = backend("gpt_neox", "classification")
    model, tokenizer = model_of("gpt_neox", "classification")
    items = [items_for(made, seed) for seed in (1, 1, 2)]
    in_one_go = [made.score(step) for step in items]
    resumed = TorchBackend(model, tokenizer).score(items[-1])
    np.testing.assert_array_equal(logits(resumed), logits(in_one_go[-1]))


def test_remembered_prefixes_follow_the_weights() -> None:
    model, tokenizer = model_of("gpt_neox", "classification")
    made, plain = TorchBackend(model, tokenizer), TorchBackend(model, tokenizer, strategy="full")
    items = items_for(made, 3)
    first = logits(made.score(items))
    weight = model.base_model.layers[0].attention.query_key_value.weight
    with torch.no_grad():
        weight.mul_(0.5)
    try:
        changed = logits(made.score(items))
        np.testing.assert_allclose(changed, logits(plain.score(items)), atol=1e-5)
        assert np.abs(changed - first).max() > 1e-3
    finally:
        with torch.no_grad():
            weight.mul_(2)


def test_out_of_memory_halves_the_packed_row_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = model_of("gpt_neox", "classification")
    made = TorchBackend(model, tokenizer)
    items = items_for(made, 4) * 3
    expected = logits(made.score(items))
    scorer = made.scorer.packed
    assert scorer is not None
    original, tried = scorer.reader.read, []

    def scarce(forward: Any, pieces: Any, ids: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        tried.append(ids.shape[1])
        if ids.shape[1] > 40:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(forward, pieces, ids, *others)

    monkeypatch.setattr(scorer.reader, "read", scarce)
    np.testing.assert_allclose(logits(made.score(items)), expected, atol=1e-5)
    assert tried[0] > 80 > 40 >= tried[-1]
    tried.clear()
    made.score(items)
    assert max(tried) <= 40
    monkeypatch.setattr(scorer.reader, "read", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(VictimError, match="out of memory on one row"):
        made.score(items)


@pytest.mark.parametrize(("kind", "head"), [case for case in PACKED if case[1] != "classification"])
def test_logits_that_take_too_much_memory_are_read_in_parts(
    kind: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, (model, _) = backend(kind, head), model_of(kind, head)
    body = model.base_model.decoder if kind == "opt" else model.base_model
    packed, own = made.scorer.packed, body.forward
    assert packed is not None
    items = [item for item in items_for(made, 8) if packed.fits(item.target, whole_rows(item).shape[1])]
    made.score(items)  # what stands before the strings is remembered from now on
    runs = {"body": 0, "head": 0}

    def counted(part: str) -> None:
        runs[part] += 1

    def hooked(*args: Any, **others: Any) -> Any:  # on the module itself, as accelerate's hooks are
        counted("body")
        return own(*args, **others)

    monkeypatch.setattr(body, "forward", hooked)
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda *_: counted("head"))
    with hook:
        wanted = made.score(items)
        whole = runs.copy()
        monkeypatch.setattr(head_reader, "max_head_values", lambda _: 1)
        found = made.score(items)
    assert body.forward is hooked
    assert runs["body"] == 2 * whole["body"]
    assert runs["head"] - whole["head"] >= sum(len(item.candidates) for item in items) > whole["head"]
    np.testing.assert_allclose(logits(found), logits(wanted), atol=1e-6)
    assert [answer.executed for answer in found] == [answer.executed for answer in wanted]


def test_a_wrong_packed_attention_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.engine.torch.scoring.packed import attention

    monkeypatch.setattr(attention, "attend", lambda q, k, v, scale: (q * 0, q[..., 0] * 0))
    model, tokenizer = model_of("llama", "classification")
    made, plain = TorchBackend(model, tokenizer), backend("llama", "classification", "full")
    items = items_for(made, 5)
    np.testing.assert_allclose(logits(made.score(items)), logits(plain.score(items)), atol=1e-5)
    assert made.scorer.strategy == "copied_prefix"
    assert "packed rows differ from an eager forward" in scoring(made)["reason"]
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("kind", ["gpt_neox", "qwen2", "gpt2"])
def test_labels_of_several_tokens(kind: str) -> None:
    model, tokenizer = model_of(kind, "label_tokens")
    labels = (" fox", " foxes", "a", " User password")
    made = TorchBackend(model, tokenizer, "label_tokens", labels)
    plain = TorchBackend(model, tokenizer, "label_tokens", labels, strategy="full")
    assert made.scorer.strategy == "packed_reuse"
    items = items_for(made, 6)
    assert len(made.scorer.packed.reader.forwards(items)[0]) > 1  # type: ignore[union-attr]
    made.score(items)
    with FlopCounterMode(display=False, custom_mapping=CPU_KERNELS) as counter:
        found = made.score(items)
    np.testing.assert_allclose(logits(found), logits(plain.score(items)), atol=2e-5)
    assert sum(answer.executed for answer in found) == pytest.approx(counter.get_total_flops(), rel=0.01)


# -- the plan, without a model -------------------------------------------------------------------------------------


@given(st.lists(st.integers(-1, 12), min_size=1, max_size=40), st.floats(0, 60))
def test_chosen_starts_are_the_cheapest(starts: list[int], overhead: float) -> None:
    found = cheapest_starts(np.asarray(starts), overhead)

    def cost(chosen: list[int]) -> float:
        return overhead * len(chosen) + sum(s - max(b for b in chosen if b <= s) for s in starts)

    values = sorted(set(starts))
    assert found[0] == values[0]
    assert set(found.tolist()) <= set(values)
    for other in values[1:]:
        flipped = sorted(set(found.tolist()) ^ {other})
        assert cost(found.tolist()) <= cost(flipped) + 1e-6


@given(seed=st.integers(0, 2**32 - 1), shape=shapes, overhead=st.sampled_from([0.0, 10.0, 1e6]))
def test_every_candidate_is_computed_once_from_its_first_change(
    seed: int, shape: tuple[int, int, int, int, bool], overhead: float
) -> None:
    item = draw(np.random.default_rng(seed), np.arange(5), shape)
    rows, starts = whole_rows(item), first_differences(item)
    pieces = plan_pieces([item], [rows], [starts], overhead)
    assert sorted(np.concatenate([p.rows for p in pieces]).tolist() if pieces else []) == list(range(shape[3]))
    for piece in pieces:
        np.testing.assert_array_equal(piece.ids, rows[piece.rows, piece.start :])
        if piece.start > len(item.before):
            assert item.near is not None
            skipped = piece.start - len(item.before)
            assert (item.candidates[piece.rows, :skipped] == item.near[:skipped]).all()
        assert piece.ids.shape[1] > 0 or not rows.shape[1]


def test_the_cache_forgets_what_was_unused_longest() -> None:
    def prefix(length: int) -> PrefixKV:
        return PrefixKV(length, [(torch.zeros(1, 1, length, 4), torch.zeros(1, 1, length, 4))])

    held = PrefixCache(100 * 32)
    held.put(b"a", prefix(40))
    held.put(b"b", prefix(40))
    assert held.get(b"a") is not None
    held.put(b"c", prefix(40))
    held.put(b"huge", prefix(101))
    assert [held.get(k) is not None for k in (b"a", b"b", b"c", b"huge")] == [True, False, True, False]
    assert held.used == 80 * 32
    held.clear()
    assert (held.used, held.get(b"a")) == (0, None)
