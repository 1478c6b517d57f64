"""Attention that also gives its log-sum-exp, so that parts can be merged: by a fused kernel, or by plain products."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.engine.torch.scoring.packed.fused_kernels import fused_kernel

_FUSED_FROM = 16  # tokens of a row from which the fused kernel is faster on a CPU


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attention of all queries [1, heads, q, width] to all keys: outputs of that shape, and log-sum-exps
    [1, heads, q].
    """
    kernel = fused_kernel(query, value)
    if kernel is not None:
        return kernel(query, key, value, scale, False)
    out, total = plain_attention(query[0], key[0], value[0], scale)
    return out[None], total[None]


def attend_within_rows(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: Tensor) -> tuple[Tensor, Tensor]:
    """Causal attention within many short rows: outputs [heads, rows, q, width] and log-sum-exps [heads, rows, q].

    Args:
        q: the last tokens of each row, [heads, rows, q, width].
        k, v: [heads, rows, length, width].
        causal: what to add to the scores of whole rows, [length, length].
    """
    length, kept = k.shape[2], q.shape[2]
    kernel = fused_kernel(q, v) if q.device.type == "cpu" and kept == length >= _FUSED_FROM else None
    if kernel is not None:
        return kernel(q, k, v, scale, True)
    mask = causal[length - kept :] if kept > 1 else None
    out, total = plain_attention(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), scale, mask)
    return out.view(*q.shape[:3], v.shape[3]), total.view(q.shape[:3])


def plain_attention(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """For q, k, v [batch, n, width]; faster than a fused kernel and than `softmax` for many short rows.

    Args:
        mask: what to add to the scores.
    """
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
