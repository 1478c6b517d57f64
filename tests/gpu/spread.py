"""How much repeated timings of the same thing differ; differences between other figures below that mean nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from harness.bench.backends import open_backends
from harness.bench.matmul_peak import LargeMatmuls, synchronise
from harness.bench.workload import score_items
from tests.gpu.models import build, configs, dtype_of, workload
from tests.gpu.parts import Measurements, Row, Setting

_SMALL_PRODUCTS = 200


def measure(setting: Setting) -> Measurements:
    """A large product, many small ones (how long calls take), and a request to score."""
    device, repeats = torch.device(setting.device), 4 if setting.small else 20
    matmuls = LargeMatmuls(device, dtype_of(setting))
    yield "a large product", lambda: _spread(lambda: 1.0 / matmuls.rate(), repeats, "TFLOP/s", 1e-12)
    small = torch.ones(64, 64, device=device, dtype=dtype_of(setting))
    yield (
        f"{_SMALL_PRODUCTS} small products",
        lambda: _spread(partial(_small, small), repeats, "calls/s", _SMALL_PRODUCTS),
    )
    name = next(iter(configs(setting)))
    yield f"scoring, {name}", lambda: _scoring(setting, name, repeats)


def _small(x: torch.Tensor) -> float:
    synchronise(x.device)
    began = time.perf_counter()
    for _ in range(_SMALL_PRODUCTS):
        x @ x
    synchronise(x.device)
    return time.perf_counter() - began


def _scoring(setting: Setting, name: str, repeats: int) -> Row:
    shape, model = workload(setting), build(name, configs(setting)[name], setting)
    (opened,), _ = open_backends(model, ("packed_reuse",))
    items = score_items(shape, model.allowed, False, 0)

    def once() -> float:
        began = time.perf_counter()
        opened.backend.score(items)
        return time.perf_counter() - began

    return _spread(once, repeats, "candidates/s", shape.candidates)


def _spread(once: Callable[[], float], repeats: int, unit: str, work: float) -> Row:
    """Seconds of ``once`` several times, after one that does not count; ``work`` over them is the rate."""
    once()
    seconds = np.asarray([once() for _ in range(repeats)])
    middle = float(np.median(seconds))
    low, first, third, high = (float(np.quantile(seconds, at)) / middle - 1 for at in (0.0, 0.25, 0.75, 1.0))
    drift = float(np.median(seconds[repeats // 2 :]) / np.median(seconds[: repeats // 2])) - 1
    told = (
        f"{work / middle:,.4g} {unit}; seconds around their median: half of them {first:+.1%} to {third:+.1%}, "
        f"all {low:+.1%} to {high:+.1%}; second half against first {drift:+.1%}"
    )
    return Row(told, {"seconds": seconds.tolist(), "work": work, "unit": unit, "drift": drift})
