"""Attention that also gives its log-sum-exp, so that parts can be merged.

PyTorch's public functions do not give it, but for `flex_attention`, which is only fast when it is compiled: a minute,
and no gain at these sizes.
"""

from __future__ import annotations

import torch
from torch import Tensor

_FUSED_FROM = 16  # tokens of a row from which the fused kernel is faster on a CPU


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attention of all queries [1, heads, q, width] to all keys: outputs of that shape, and log-sum-exps
    [1, heads, q].
    """
    if _has_fused_kernel(query, value):
        return _fused(query, key, value, scale, causal=False)
    out, total = _unfused(query[0], key[0], value[0], scale, None)
    return out[None], total[None]


def attend_within_rows(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: Tensor) -> tuple[Tensor, Tensor]:
    """Causal attention within many short rows: outputs [heads, rows, q, width] and log-sum-exps [heads, rows, q].

    Args:
        q: the last tokens of each row, [heads, rows, q, width].
        k, v: [heads, rows, length, width].
        causal: what to add to the scores of whole rows, [length, length].
    """
    length, kept = k.shape[2], q.shape[2]
    if _has_fused_kernel(q, v) and kept == length >= _FUSED_FROM:
        return _fused(q, k, v, scale, causal=True)
    mask = causal[length - kept :] if kept > 1 else None
    out, total = _unfused(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), scale, mask)
    return out.view(*q.shape[:3], v.shape[3]), total.view(q.shape[:3])


def _has_fused_kernel(q: Tensor, v: Tensor) -> bool:
    return q.device.type == "cpu" and q.shape[-1] == v.shape[-1]


def _fused(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, scale=scale)
    return found[0], found[1]


def _unfused(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """For q, k, v [batch, n, width]; faster than the fused kernel and than `softmax` for many short rows."""
    scores = torch.bmm(q, k.transpose(1, 2)).to(sum_dtype(q)).mul_(scale)
    if mask is not None:
        scores += mask
    top = scores.amax(-1, keepdim=True)
    total = scores.sub_(top).exp_().sum(-1, keepdim=True)
    return torch.bmm(scores.to(v.dtype), v).div_(total), total.log_().add_(top)[..., 0]


def repeat_heads(key: Tensor, value: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Keys and values [1, key-value heads, n, width], each repeated for the query heads that share it."""
    times = heads // key.shape[1]
    return (key, value) if times == 1 else (key.repeat_interleave(times, 1), value.repeat_interleave(times, 1))


def sum_dtype(x: Tensor) -> torch.dtype:
    """In which precision scores of such values are summed."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32
