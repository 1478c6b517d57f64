"""The chunk that is tried first, and what is left of speed and of answers when memory runs out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from harness.api.model.backend import GradientItem, ScoreItem
from harness.bench.model import BenchModel
from harness.bench.workload import score_items
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.memory.chunks import WORK_KINDS, WorkKind, forget_limits
from harness.engine.torch.memory.tokens_from_free_memory import first_chunk
from harness.engine.torch.scoring.strategy_names import StrategyName
from harness.engine.torch.self_check.tolerance import FIXED_TOLERANCES
from tests.engine.torch.test_memory import Scarce
from tests.gpu.models import build, configs, workload
from tests.gpu.parts import Measurements, Row, Setting

_STRATEGIES: tuple[StrategyName, ...] = ("packed_reuse", "copied_prefix", "full")


def measure(setting: Setting) -> Measurements:
    """With the first of the models: first chunks, then losses and gradients while memory is short."""
    name, make = next(iter(configs(setting).items()))
    model = build(name, make, setting)
    for kind in WORK_KINDS:
        yield f"first chunk, {kind}", partial(_first_chunk, model, kind)
    items = score_items(workload(setting), model.allowed, False, 0)
    for strategy in _STRATEGIES:
        yield f"short of memory, {strategy}", partial(_short_of_memory, model, items, strategy)
    yield "short of memory, gradients", partial(_short_gradients, model, items)


def _first_chunk(model: BenchModel, kind: WorkKind) -> Row:
    began = time.perf_counter()
    tokens = first_chunk(model.model, model.device, kind)
    figures = {"tokens": tokens, "seconds": time.perf_counter() - began, "free_bytes": _free(model.device)}
    free = "" if figures["free_bytes"] is None else f"; {figures['free_bytes'] / 2**30:.1f} GiB free"
    return Row(f"{tokens:,} tokens, found in {figures['seconds']:.1f} s{free}", figures)


def _short_of_memory(model: BenchModel, items: Sequence[ScoreItem], strategy: StrategyName) -> Row:
    forget_limits()
    if strategy == "full":
        items = [_fewer(item, 64) for item in items]
    backend = TorchBackend(model.model, model.tokenizer, model.head, strategy=strategy)
    backend.score([_fewer(item, 2) for item in items])  # everything is checked before memory is short

    def losses() -> Any:
        return np.concatenate([answer.losses for answer in backend.score(items)])

    return _recovered(model, backend, "score", losses, FIXED_TOLERANCES[model.dtype])


def _short_gradients(model: BenchModel, items: Sequence[ScoreItem]) -> Row:
    forget_limits()
    backend = TorchBackend(model.model, model.tokenizer, model.head)
    wanted = [
        GradientItem(item.before, string, item.after, item.target, model.allowed, 16)
        for item in items
        for string in item.candidates[:64]
    ]
    backend.gradient(wanted[:2])

    def losses() -> Any:
        return np.asarray([answer.answer.loss for answer in backend.gradient(wanted)])

    return _recovered(model, backend, "gradient", losses, FIXED_TOLERANCES[model.dtype])


def _recovered(
    model: BenchModel, backend: TorchBackend, kind: WorkKind, losses: Callable[[], Any], allowed: float
) -> Row:
    """Answers with memory to spare, while it is short, and once more while it is short and that is known."""
    chunker = backend._chunkers[kind]
    plenty, wanted, used = _taken(losses, model.device)
    budget = chunker.tokens
    with _scarce(model, used):
        found, answers, _ = _taken(losses, model.device)
        again, _, _ = _taken(losses, model.device)
    error, limited = float(np.abs(answers - wanted).max()), chunker.limited
    told = (
        f"{1e3 * plenty:,.0f} ms with memory to spare; {1e3 * found:,.0f} ms when it runs out, {1e3 * again:,.0f} ms "
        f"from then on; {budget:,} tokens at once, then {', '.join(f'{n:,}' for n in limited.values()) or 'no fewer'}; "
        f"losses differ by {error:.1e} nats"
    )
    figures = {"seconds": [plenty, found, again], "tokens": budget, "limited": limited, "error": error, "bytes": used}
    return Row(told, figures, wrong=not (limited and error <= allowed))


def _taken(run: Callable[[], Any], device: torch.device) -> tuple[float, Any, int]:
    """Seconds, the answer, and on a card the bytes that came on top."""
    before = 0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    began = time.perf_counter()
    answer = run()
    seconds = time.perf_counter() - began
    return seconds, answer, torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else 0


@contextmanager
def _scarce(model: BenchModel, used: int) -> Iterator[None]:
    """Within, there is less than half the memory that was used: the rest of a card is filled up. On a processor the
    model only says that memory ran out.
    """
    if model.device.type != "cuda":
        with pytest.MonkeyPatch.context() as patched:
            Scarce(patched, model.model, 60)
            yield
        return
    torch.cuda.empty_cache()
    room = torch.cuda.mem_get_info(model.device)[0]
    ballast = torch.empty(max(0, int(room - 0.4 * used)), dtype=torch.uint8, device=model.device)
    try:
        yield
    finally:
        del ballast
        torch.cuda.empty_cache()


def _fewer(item: ScoreItem, candidates: int) -> ScoreItem:
    return ScoreItem(item.before, item.candidates[:candidates], item.after, item.target, item.near)


def _free(device: torch.device) -> int | None:
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None
