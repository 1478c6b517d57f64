"""Linear layers whose inputs and weights are rounded to bfloat16 as they are multiplied, and summed in float32.

Some processors have a unit that multiplies such matrices several times faster than float32 (Intel's AMX). Activations
between the layers stay in float32, so losses are about three times nearer to exact ones than those of a model in
bfloat16. Attention, norms and rotary embeddings are left as they are: positions would be rounded as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from harness.engine.torch.weights.logical_sizes import linear_layers

_LEAST_ENTRIES = 1 << 18
"""Entries of a model's mean matrix from which this is worthwhile: 512 by 512. With a sixth of it (1.7M parameters)
products took 1.2 times less time, with three times as much (21M) 1.7 times.
"""


def why_not_bfloat16(model: Any) -> str:
    """Why products in bfloat16 would save nothing for this model, or "" where they may."""
    if not has_matrix_unit():
        return "the processor has no matrix unit for bfloat16"
    if {(p.device.type, p.dtype) for p in model.parameters()} != {("cpu", torch.float32)}:
        return "the model is not in float32 on the processor"
    sizes = [entries for _, entries in linear_layers(model)]
    if sum(sizes) < _LEAST_ENTRIES * len(sizes):
        return "the model's matrices are small"
    return ""


def has_matrix_unit() -> bool:
    """Whether this processor multiplies matrices in bfloat16 faster than in float32 by a unit of its own."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


@contextmanager
def bfloat16_products(model: Any) -> Iterator[None]:
    """Within, the model's linear layers multiply so. It is a setting of the whole process."""
    products: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = products.fp32_precision

    def reduce(*_: Any) -> None:
        products.fp32_precision = "bf16"

    def restore(*_: Any) -> None:
        products.fp32_precision = before

    with ExitStack() as hooks:
        for layer, _ in linear_layers(model):
            hooks.enter_context(layer.register_forward_pre_hook(reduce))
            hooks.enter_context(layer.register_forward_hook(restore, always_call=True))
        try:
            yield
        finally:
            restore()  # hooks are not called on Ctrl-C
