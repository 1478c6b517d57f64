"""How far two right ways of computing may be apart: by rounding, which in half precision is measured for each model.

Two right ways of computing in half precision differ by about as much as either differs from float32. How much that is
depends on depth, weights and head: measured on models of 2 to 24 layers from 0.0003 to 0.03 of the largest answer in
bfloat16, an eighth of it in float16. A fixed tolerance is far too wide for most and too narrow for some, so it is
measured for each model where that can be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from harness.tokens.tokenizer import Floats

T = TypeVar("T")

FIXED_TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 8e-2, torch.float16: 1e-2}
"""Differences that count as rounding where nothing was measured; relative to the largest answer if that is above 1."""

_TIMES_ROUNDING = 4.0  # two ways of computing differed by at most 2.5 times what half precision costs
_LEAST = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}  # half a unit in the last place


def relative_difference(ours: Floats, reference: Floats) -> float:
    """Largest absolute difference of two arrays of one shape, divided by the largest reference where that is above 1;
    NaN counts as infinite.
    """
    scale = max(1.0, float(np.abs(reference).max()))
    difference = float(np.abs(ours - reference).max()) / scale
    return difference if np.isfinite(difference) else float("inf")


def deviation_message(what: str, difference: float, tolerance: float) -> str:
    """Why ``what`` is not used: it differs from an eager forward by more than rounding; "" where it does not."""
    if difference <= tolerance:
        return ""
    return f"{what} differ from an eager forward by {difference:.2g} (tolerance {tolerance:g})"


def allowed_difference(dtype: torch.dtype, rounding: float | None) -> float:
    """Difference from an eager forward that counts as rounding.

    Args:
        rounding: what half precision costs this model, of `measure_rounding`.
    """
    return FIXED_TOLERANCES[dtype] if rounding is None else max(_LEAST[dtype], _TIMES_ROUNDING * rounding)


def measure_rounding(model: Any, run: Callable[[], T], compare: Callable[[T, T], float]) -> float | None:
    """How far ``run()`` in the model's half precision is from float32; None in full precision or where it fails.

    Args:
        run: answers by plain forwards.
        compare: (answers, reference) to their difference.
    """
    if model.dtype not in _LEAST or not _can_convert(model):
        return None
    ours = run()
    try:
        with in_float32(model):
            exact = run()
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None  # some module reads another one's weights: the fixed tolerance remains
    return compare(ours, exact)


def _can_convert(model: Any) -> bool:
    """Whether all weights are at hand, and a GPU has room for any module's in float32: running out of memory here would
    teach the wrong chunk size.
    """
    if any(p.device.type == "meta" for p in model.parameters()):
        return False
    largest = max(4 * sum(p.numel() for p in module.parameters(recurse=False)) for module in model.modules())
    gpus = {p.device for p in model.parameters() if p.device.type == "cuda"}
    return all(torch.cuda.mem_get_info(gpu)[0] > 2 * largest for gpu in gpus)


@contextmanager
def in_float32(model: Any) -> Iterator[None]:
    """Within, each module computes with its weights in float32, converted while it runs: no copy of the model."""
    originals: dict[nn.Module, tuple[dict[str, Any], dict[str, Any]]] = {}

    def convert(module: nn.Module, *_: Any) -> None:
        if module not in originals:
            originals[module] = dict(module._parameters), dict(module._buffers)
            for name, weight in originals[module][0].items():
                if weight is not None and weight.is_floating_point():
                    module._parameters[name] = nn.Parameter(weight.float(), requires_grad=False)
            for name, buffer in originals[module][1].items():
                if buffer is not None and buffer.is_floating_point():
                    module._buffers[name] = buffer.float()

    def restore(module: nn.Module, *_: Any) -> None:
        if module in originals:
            parameters, buffers = originals.pop(module)
            module._parameters.update(parameters)
            module._buffers.update(buffers)

    with ExitStack() as hooks:
        for module in model.modules():
            if any(True for _ in module.parameters(recurse=False)) or any(True for _ in module.buffers(recurse=False)):
                hooks.enter_context(module.register_forward_pre_hook(convert))
                hooks.enter_context(module.register_forward_hook(restore, always_call=True))
        try:
            yield
        finally:
            for module in list(originals):
                restore(module)
