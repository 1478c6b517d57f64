"""Executed FLOPs against `torch.utils.flop_counter`: within 1% on every shape, head and direction.

That counter does not know the CPU's fused attention kernel, so it is told its formula here (the same as for the GPU
kernels), and checked with eager attention too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from harness.api.model.backend import GradientItem, ScoreItem
from harness.api.training import TrainRow
from harness.engine.torch.backend import TorchBackend
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.training.objective import collate
from tests.engine.hub_models import byte_bpe, random_model, word_piece
from tests.training.batches import batch_loss

_aten = torch.ops.aten
CPU_KERNELS = {
    _aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, q, k, v, *_, **__: sdpa_backward_flop_count(grad, q, k, v)
    ),
}
LABELS = {"classification": (), "label_tokens": (" fox", " dog")}
CASES = [(k, h, a) for k in ("gpt_neox", "qwen2") for h in LABELS for a in ("eager", "sdpa")]
CASES += [("bert", "classification", a) for a in ("eager", "sdpa")]


def counted(run: Callable[[], Any]) -> tuple[Any, float]:
    with FlopCounterMode(display=False, custom_mapping=CPU_KERNELS) as counter:
        answer = run()
    return answer, float(counter.get_total_flops())


def backend(kind: str, head: str, attention: str) -> TorchBackend:
    tokenizer = HFTokenizer(word_piece() if kind == "bert" else byte_bpe())
    model = random_model(kind, head, tokenizer.vocabulary, hidden=64, layers=3)
    model.set_attn_implementation(attention)
    made = TorchBackend(model, tokenizer, head, LABELS[head])  # type: ignore[arg-type]
    made.describe()  # self-check and probes run before anything is counted
    return made


@pytest.mark.parametrize(("kind", "head", "attention"), CASES)
def test_executed_agrees_with_the_counter(kind: str, head: str, attention: str) -> None:
    made = backend(kind, head, attention)
    rng = np.random.default_rng(0)
    ids = [rng.integers(10, 90, size=n) for n in (21, 6, 4)]
    item = ScoreItem(ids[0], rng.integers(10, 90, size=(7, 6)), ids[2], target=1)
    (scored,), truth = counted(lambda: made.score([item]))
    assert scored.executed == pytest.approx(truth, rel=0.01)

    (_, executed), truth = counted(lambda: made.classify([ids[0], ids[1], ids[2]]))
    assert sum(executed) == pytest.approx(truth, rel=0.01)

    allowed = np.arange(10, 90)
    wanted = GradientItem(ids[0], ids[1], ids[2], target=0, allowed=allowed, top=5)
    made.gradient([wanted])
    (answer,), truth = counted(lambda: made.gradient([wanted]))
    assert answer.executed == pytest.approx(truth, rel=0.01)


@pytest.mark.parametrize(("kind", "head", "attention"), CASES)
def test_training_step_agrees_with_the_counter(kind: str, head: str, attention: str) -> None:
    made = backend(kind, head, attention)
    made.model.requires_grad_(True)
    rng = np.random.default_rng(1)
    rows = [TrainRow(tuple(rng.integers(10, 90, size=n).tolist()), n % 2) for n in (40, 37, 37, 32)]
    batch = collate(rows, made.head, 1, torch.device("cpu"))

    def step() -> int:
        loss, outputs = batch_loss(made.model, made.head, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return outputs

    outputs, truth = counted(step)
    assert len(rows) * made.executed.training(batch.ids.shape[1], outputs) == pytest.approx(truth, rel=0.01)


def test_unseen_weights_are_reported() -> None:
    made = backend("gpt_neox", "classification", "sdpa")
    assert made.executed.unseen_share == 0.0
    made.model.extra = torch.nn.Parameter(torch.zeros(64, 64))
    del made._full_scorer.__dict__["flop_count"]
    assert 0.0 < made.executed.unseen_share < 0.1
