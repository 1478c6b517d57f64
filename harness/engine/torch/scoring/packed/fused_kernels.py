"""PyTorch's fused attention kernels that give the log-sum-exp as well; none of them writes its scores to memory.

They are called by their internal names, since no public function of PyTorch gives the log-sum-exp but `flex_attention`,
which is only fast when it is compiled. So each is compared with exact attention on a small example before it is used
for the first time, and left alone where it is refused or wrong: then plain products remain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor

from harness.engine.torch.devices import is_out_of_memory
from harness.engine.torch.self_check.tolerance import FIXED_TOLERANCES

FusedKernel = Callable[[Tensor, Tensor, Tensor, float, bool], tuple[Tensor, Tensor]]
"""Called with queries, keys, values [batch, heads, tokens, width], the scale, and whether attention is causal: outputs
of the queries' shape, and log-sum-exps [batch, heads, queries].
"""

_QUERIES, _KEYS, _HEADS = 37, 70, 2  # of the example: no multiples of what a kernel takes at once
_ALIGNED = 16  # bytes


def _cpu(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, scale=scale)
    return found[0], found[1]


def _flash(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    found = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, causal, False, scale=scale)
    return found[0], found[1][..., : q.shape[2]]


def _memory_efficient(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    found = torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, None, True, 0.0, causal, scale=scale)
    return found[0], found[1][..., : q.shape[2]]  # of more queries than there are: their number is rounded up


KERNELS: Mapping[str, Mapping[str, FusedKernel]] = {
    "cpu": {"flash for CPUs": _cpu},
    "cuda": {"flash": _flash, "memory-efficient": _memory_efficient},
}
"""By kind of device and name, the one that is tried first in front."""


def fused_kernel(query: Tensor, value: Tensor) -> FusedKernel | None:
    """The first kernel that is right for such queries and values; None where there is none."""
    width = query.shape[-1]
    if width != value.shape[-1]:
        return None
    if query.device.type == "cuda" and width * query.element_size() % _ALIGNED:
        return None
    return _first_right(query.device, query.dtype, width)


@cache
def _first_right(device: torch.device, dtype: torch.dtype, width: int) -> FusedKernel | None:
    kernels = KERNELS.get(device.type, {}).values()
    return next((kernel for kernel in kernels if not why_not(kernel, device, dtype, width)), None)


@torch.inference_mode()
def why_not(kernel: FusedKernel, device: torch.device, dtype: torch.dtype, width: int) -> str:
    """Why a kernel is not used for values of this width, or "".

    Raises:
        RuntimeError: memory ran out, which says nothing of the kernel.
    """
    q, k, v = (
        torch.arange(first, first + _HEADS * tokens * width).sin().view(1, _HEADS, tokens, width).to(device, dtype)
        for first, tokens in ((0, _QUERIES), (1, _KEYS), (2, _KEYS))
    )
    scale = width**-0.5
    scores = q.double() @ k.double().mT * scale
    wanted = scores.softmax(-1) @ v.double(), scores.logsumexp(-1)
    try:
        found = kernel(q, k, v, scale, False)
        apart = max(float((x.double() - y).abs().max()) for x, y in zip(found, wanted, strict=True))
    except (RuntimeError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    tolerance = FIXED_TOLERANCES.get(dtype, 0.0)
    return "" if apart <= tolerance else f"it is off by {apart:.2g} (tolerance {tolerance:g})"
