"""How fast this machine multiplies matrices, with the threads it is given: what a path is measured against.

The best of a few products; `torch.utils.benchmark` gives the median of many, on one thread.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

_REPEATS = 3
_SIDES = {"cpu": (1536, 2048), "cuda": (4096, 8192)}  # of large squares
_TOKENS = {"cpu": 2048, "cuda": 16_384}  # rows of the products at the model's own shapes


class LargeMatmuls:
    """Large square products on one device and in one dtype. Inputs are made once."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        """Make the matrices."""
        self._factors = [_random_factors(side, side, side, device, dtype) for side in _SIDES[device.type]]

    def rate(self) -> float:
        """FLOP/s, the best of a few products."""
        return max(2.0 * a.shape[0] ** 3 / _quickest(a, b) for a, b in self._factors)


def layer_matmul_rate(model: Any) -> float:
    """FLOP/s of the products of the model's own linear layers one after another, a packed forward of tokens each.

    Layers of equal shape are measured once. The output embedding is left out: it sees few tokens.
    """
    body = getattr(model, "base_model", model)
    weight = next(model.parameters())
    shapes: Counter[tuple[int, int]] = Counter()
    for module in body.modules():
        if isinstance(module, nn.Linear):
            shapes[(module.in_features, module.out_features)] += 1
        elif isinstance(module, Conv1D):
            shapes[(int(module.weight.shape[0]), int(module.weight.shape[1]))] += 1
    tokens = _TOKENS[weight.device.type]
    flops = seconds = 0.0
    for (inner, outer), count in shapes.items():
        a, b = _random_factors(tokens, inner, outer, weight.device, weight.dtype)
        flops += count * 2.0 * tokens * inner * outer
        seconds += count * _quickest(a, b)
    return flops / seconds if seconds else 0.0


def _random_factors(
    rows: int, inner: int, columns: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Two matrices [rows, inner] and [inner, columns] to multiply."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, generator=generator) for size in ((rows, inner), (columns, inner)))
    return a.to(device, dtype), b.to(device, dtype).T  # weights lie transposed in linear layers


def _quickest(a: Tensor, b: Tensor) -> float:
    """Seconds of the quickest of a few products."""
    seconds = []
    with torch.inference_mode():
        for _ in range(_REPEATS):
            synchronise(a.device)
            began = time.perf_counter()
            torch.matmul(a, b)
            synchronise(a.device)
            seconds.append(time.perf_counter() - began)
    return min(seconds)


def synchronise(device: torch.device) -> None:
    """Wait for the device, where calls return before they are done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
