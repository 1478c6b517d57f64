"""Attention that also tells its log-sum-exp, so that parts can be merged."""

from __future__ import annotations

import torch
from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attention of all queries to all keys: outputs [1, heads, q, width] and log-sum-exps [1, heads, q]."""
    if query.device.type == "cpu" and query.shape[-1] == value.shape[-1]:
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, False, scale=scale)
        return fused[0], fused[1]
    return attend_plainly(query, key, value, scale, None)


def attend_plainly(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same by plain products; much faster than the fused kernel and than `softmax` for many small squares."""
    scores = torch.matmul(q, k.transpose(2, 3)).to(sums_in(q)).mul_(scale)
    if mask is not None:
        scores += mask
    top = scores.amax(-1, keepdim=True)
    total = scores.sub_(top).exp_().sum(-1, keepdim=True)
    return torch.matmul(scores.to(v.dtype), v).div_(total), total.log_().add_(top)[..., 0]


def sums_in(x: Tensor) -> torch.dtype:
    """In which precision scores are summed."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32
