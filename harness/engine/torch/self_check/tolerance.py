"""What half precision costs a model's answers, measured against the same weights in float32.

Two right ways of computing in half precision differ by about as much as either differs from float32. How much that is
depends on depth, weights and head: measured on models of 2 to 24 layers from 0.0003 to 0.03 of the largest answer in
bfloat16, an eighth of it in float16. A fixed tolerance is far too wide for most and too narrow for some, so it is
measured for each model where that can be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

T = TypeVar("T")

TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 8e-2, torch.float16: 1e-2}
"""Differences that count as rounding where nothing was measured; relative to the largest answer if that is above 1."""

_TIMES = 4.0  # two ways of computing differed by at most 2.5 times what half precision costs
_LEAST = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}  # half a unit in the last place


def rounding(model: Any, run: Callable[[], T], compare: Callable[[T, T], float]) -> float | None:
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


def tolerance(dtype: torch.dtype, measured: float | None) -> float:
    """Difference from an eager forward that counts as rounding, given what half precision costs."""
    return TOLERANCE[dtype] if measured is None else max(_LEAST[dtype], _TIMES * measured)


def _can_convert(model: Any) -> bool:
    """Whether all weights are at hand, and a GPU has room for any module's in float32: running out of memory here would
    teach the wrong chunk size.
    """
    if any(p.device.type == "meta" for p in model.parameters()):
        return False
    largest = max(4 * sum(p.numel() for p in module.parameters(recurse=False)) for module in model.modules())
    places = {p.device for p in model.parameters() if p.device.type == "cuda"}
    return all(torch.cuda.mem_get_info(place)[0] > 2 * largest for place in places)


@contextmanager
def in_float32(model: Any) -> Iterator[None]:
    """Within, each module computes with its weights in float32, converted while it runs: no copy of the model."""
    held: dict[nn.Module, tuple[dict[str, Any], dict[str, Any]]] = {}

    def before(module: nn.Module, *_: Any) -> None:
        if module not in held:
            held[module] = dict(module._parameters), dict(module._buffers)
            for name, weight in held[module][0].items():
                if weight is not None and weight.is_floating_point():
                    module._parameters[name] = nn.Parameter(weight.float(), requires_grad=False)
            for name, buffer in held[module][1].items():
                if buffer is not None and buffer.is_floating_point():
                    module._buffers[name] = buffer.float()

    def after(module: nn.Module, *_: Any) -> None:
        if module in held:
            parameters, buffers = held.pop(module)
            module._parameters.update(parameters)
            module._buffers.update(buffers)

    hooks = []
    for module in model.modules():
        if any(True for _ in module.parameters(recurse=False)) or any(True for _ in module.buffers(recurse=False)):
            hooks.append(module.register_forward_pre_hook(before))
            hooks.append(module.register_forward_hook(after, always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module in list(held):
            after(module)
