"""Budgets of tokens: found once, halved when memory runs out, remembered by the next model of the same sort."""

from __future__ import annotations

from typing import Any

import numpy as np
import psutil
import pytest
import torch
import transformers as tf
from hypothesis import given, strategies as st

from harness.api.model.backend import GradientItem
from harness.api.model.shape import ModelShape
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.memory import tokens_from_free_memory as module
from harness.engine.torch.memory.chunks import Chunker, ChunkLimits, chunkers, forget_limits
from harness.engine.torch.memory.fixed_limits import max_chunk_tokens
from harness.engine.torch.memory.tokens_from_free_memory import bytes_per_token, first_chunk, tokens_that_fit
from harness.errors import VictimError
from tests.engine.torch.scoring.test_copied_prefix import all_outputs, long_items
from tests.engine.torch.scoring.test_packed import CONFIGS, model_of, scoring

CPU = torch.device("cpu")
KINDS = ("score", "gradient", "generate")
MOST = max_chunk_tokens(False, 4 * 64)  # float32 and feed-forward blocks of 64, as the models here have


class Scarce:
    """Makes a model run out of memory above so many tokens in one forward, and counts what was tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: Any, most: int) -> None:
        self.tried: list[int] = []
        embed = model.get_input_embeddings()
        original = embed.forward

        def forward(ids: torch.Tensor) -> torch.Tensor:
            self.tried.append(ids.numel())
            if ids.numel() > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            found: torch.Tensor = original(ids)
            return found

        monkeypatch.setattr(embed, "forward", forward)


def another_checkpoint(kind: str, head: str) -> Any:
    """A model of the same sort with other weights."""
    model, _ = model_of(kind, head)
    again = type(model)(model.config)
    again.load_state_dict({name: value * 1.1 for name, value in model.state_dict().items()})
    return again


@pytest.mark.parametrize("strategy", ["full", "copied_prefix", "packed_reuse"])
def test_what_memory_allows_is_learnt_once_for_all_checkpoints(monkeypatch: pytest.MonkeyPatch, strategy: Any) -> None:
    model, tokenizer = model_of("gpt_neox", "classification")
    made = TorchBackend(model, tokenizer, strategy=strategy)
    items = long_items(made, 1) * 4
    expected = all_outputs(made.score(items))
    scarce = Scarce(monkeypatch, model, 60)
    np.testing.assert_allclose(all_outputs(made.score(items)), expected, atol=1e-5)
    assert max(scarce.tried) > 60
    failed = sum(n > 60 for n in scarce.tried)
    assert failed < 12, "each halving fails once, no more"
    scarce.tried.clear()
    made.score(items)
    assert max(scarce.tried) <= 60

    second = another_checkpoint("gpt_neox", "classification")
    scarce = Scarce(monkeypatch, second, 60)
    other = TorchBackend(second, tokenizer, strategy=strategy, check_agreement=False)
    other.score(items)
    assert max(scarce.tried) <= 60, "the next checkpoint begins with what the first one learnt"
    assert other.describe()["chunk_tokens"] == made.describe()["chunk_tokens"]


def test_other_models_learn_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = model_of("gpt_neox", "classification")
    made = TorchBackend(model, tokenizer, strategy="full")
    _ = made.scorer
    Scarce(monkeypatch, model, 60)
    made.score(long_items(made, 1) * 4)
    wider = tf.GPTNeoXForSequenceClassification(
        tf.GPTNeoXConfig(**{**CONFIGS["gpt_neox"][1], "hidden_size": 64, "vocab_size": tokenizer.vocabulary})
    )
    assert made._chunkers["score"].budget(40) < MOST
    assert TorchBackend(wider, tokenizer)._chunkers["score"].budget(40) == MOST
    assert TorchBackend(model, tokenizer)._chunkers["gradient"].budget(40) == MOST
    forget_limits()
    assert TorchBackend(model, tokenizer)._chunkers["score"].budget(40) == MOST


def test_gradients_are_halved_and_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = model_of("llama", "label_tokens")
    made = TorchBackend(model, tokenizer, "label_tokens", ("a", "b"))
    rng = np.random.default_rng(0)
    allowed = made._ordinary_ids[:50]
    items = [
        GradientItem(*(rng.choice(made._ordinary_ids, n) for n in (6, 4, 3)), 1, allowed, 5)  # before, string, after
        for _ in range(9)
    ]
    expected = made.gradient(items)
    scarce = Scarce(monkeypatch, model, 30)
    found = made.gradient(items)
    assert max(scarce.tried) > 30
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got.answer.values, want.answer.values, atol=1e-5)
        np.testing.assert_array_equal(got.answer.tokens, want.answer.tokens)
    scarce.tried.clear()
    made.gradient(items)
    assert max(scarce.tried) <= 30
    Scarce(monkeypatch, model, 0)
    with pytest.raises(VictimError, match="out of memory on one row"):
        made.gradient(items)


@given(
    requests=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 300)), min_size=1, max_size=12),
    room=st.integers(300, 3000),
    first=st.integers(1, 5000),
)
def test_every_row_is_answered_once_in_order(requests: list[tuple[int, int]], room: int, first: int) -> None:
    """Whatever the lengths of rows and the room for them, and no length fails more often than it can be halved."""
    chunker, failures = Chunker(first), 0
    for rows, length in requests:

        def run(part: slice, length: int = length) -> range:
            nonlocal failures
            if (part.stop - part.start) * length > room:
                failures += 1
                raise MemoryError
            return range(part.start, part.stop)

        answered = [i for part, own in chunker.map(run, rows, length) for i in own]
        assert answered == list(range(rows))
    budgets = [chunker.budget(length) for length in range(400)]
    assert budgets == sorted(budgets, reverse=True)
    assert budgets[0] == chunker.tokens <= first
    assert failures <= 9 * 13


def test_memory_of_one_kind_of_work_and_length_says_nothing_of_less() -> None:
    model, _ = model_of("gpt_neox", "classification")
    made = chunkers(model, CPU, 1000)
    made["score"].halve(800, 100)
    assert [made["score"].budget(n) for n in (0, 63, 64, 127, 128)] == [1000, 1000, 400, 400, 400]
    assert made["gradient"].budget(100) == 1000
    again = chunkers(model, CPU, 600)
    assert [again["score"].budget(n) for n in (0, 63, 64)] == [600, 600, 400]
    again["score"].tokens = 50
    assert (again["score"].budget(64), made["score"].tokens) == (50, 1000)
    assert made["score"].limited == {"64": 400}


def test_the_first_budget_is_found_once_when_it_is_needed() -> None:
    asked, learnt = [], ChunkLimits()
    one, two = (Chunker(lambda: asked.append(1) or 512, learnt) for _ in range(2))
    assert not asked
    assert (one.budget(3), one.budget(70), two.budget(3), asked) == (512, 512, 512, [1])


def test_the_first_budget_on_a_cpu_follows_shape_and_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = model_of("gpt_neox", "classification")
    assert {first_chunk(model, CPU, kind) for kind in KINDS} == {MOST}
    shape = ModelShape.from_config(model.config.to_dict())
    assert shape is not None
    free = type("Free", (), {"available": 4 * 200 * shape.backward(32, 4)})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    assert first_chunk(model, CPU, "gradient") == 128
    assert first_chunk(model, CPU, "gradient") < first_chunk(model, CPU, "generate") <= first_chunk(model, CPU, "score")
    free.available = 0
    assert first_chunk(model, CPU, "gradient") == 64


@given(room=st.floats(0, 1e12), each=st.floats(0.1, 1e9), most=st.sampled_from([4096, 65_536]))
def test_budgets_are_powers_of_two_that_fit(room: float, each: float, most: int) -> None:
    found = tokens_that_fit(room, each, most)
    assert found & (found - 1) == 0
    assert 64 <= found <= most
    if 64 < found < most:
        assert found * each <= room < 2 * (found + 1) * max(each, 1)


def test_bytes_per_token_are_the_slope_of_two_probes() -> None:
    ran: list[int] = []

    def peak(run: Any) -> int:
        run()
        return 5_000_000 + 700 * 32 * ran[-1]

    assert bytes_per_token(peak, ran.append, 32) == 700
    assert len(ran) == 3, "one forward to warm up, and two that are measured"


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_budget_on_a_gpu_is_measured(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    """With made-up figures in the place of CUDA's: 3 kB per token in use at most, 1 MB of 8 MB free."""
    model, _ = model_of("gpt_neox", "label_tokens")
    tokens = 0
    embed = model.get_input_embeddings()

    def seen(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
        nonlocal tokens
        tokens = output.shape[0] * output.shape[1]

    figures = {
        "synchronize": lambda _: None,
        "reset_peak_memory_stats": lambda _: None,
        "memory_allocated": lambda _: 7_000_000,
        "memory_reserved": lambda _: 7_500_000,
        "max_memory_allocated": lambda _: 7_000_000 + 3_000 * tokens,
        "mem_get_info": lambda _: (500_000, 8_000_000),
    }
    for name, figure in figures.items():
        monkeypatch.setattr(torch.cuda, name, figure)
    with embed.register_forward_hook(seen):
        assert module._on_gpu(model, CPU, kind) == tokens_that_fit(0.5 * 1_000_000, 3_000, 65_536) == 128


def test_nothing_is_learnt_anew_at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = model_of("gpt_neox", "classification")
    made = TorchBackend(model, tokenizer)
    asked = []
    monkeypatch.setattr(psutil, "virtual_memory", lambda: asked.append(1) or type("Free", (), {"available": 1 << 34}))
    _ = scoring(made)  # checks scores and gradients
    assert len(asked) == 2
    for seed in range(3):
        made.score(long_items(made, seed))
    assert len(asked) == 2
