"""Attention over a packed row: each token sees its own candidate so far and, apart from that, its example's prefix.

The two parts are computed as separate products and merged by their log-sum-exp, which is exact. All candidates of one
example read one copy of the prefix's keys and values. The function is registered with transformers under `NAME`; no
mask function is, so models build no mask. It serves any decoder that takes its attention from that registry.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from harness.engine.torch.scoring.packed.attention_autograd import attend_differentiably
from harness.engine.torch.scoring.packed.attention_kernels import as_many_heads, attend, attend_squares, sums_in
from harness.engine.torch.scoring.packed.packed_pass import PackedPass, UnfitError, current

NAME = "harness_packed"
_PLAIN = {"position_ids", "cache_position", "use_cache", "dropout"}  # say nothing about what a token may look at


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """What transformers calls in each attention layer.

    Args:
        query: [1, heads, N, width].
        key, value: [1, key-value heads, N, width].

    Returns:
        [1, N, heads, width], and None for the weights.

    Raises:
        UnfitError: something about this layer that is not understood.
    """
    this = current()
    _refuse(module, this, query, attention_mask, sliding_window, is_causal, others)
    assert this is not None
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    if this.capture:
        this.kept.append((key.detach(), value.detach()))
    layer, this.layer = this.layer, this.layer + 1
    trim = layer == this.final
    if this.grad:
        return attend_differentiably(this, layer, query, key, value, scale, trim).to(query.dtype)[None], None
    out, own = _own(this, query, *as_many_heads(key, value, query.shape[1]), scale, trim)
    if any(prefix is not None for _, _, prefix, _ in this.behind):
        seen, shared = _shared(this, layer, query, value.shape[-1], scale, trim)
        out.lerp_(seen, shared.sub_(own).sigmoid_()[..., None])
    if trim:
        out = out.new_zeros(query.shape[2], *out.shape[1:]).index_copy_(0, this.read.to(out.device), out)
    return out.to(query.dtype)[None], None


AttentionInterface.register(NAME, packed_attention)


def _own(
    this: PackedPass, query: Tensor, key: Tensor, value: Tensor, scale: float, trim: bool
) -> tuple[Tensor, Tensor]:
    """Causal attention within each candidate: outputs [N, heads, width] and log-sum-exps [N, heads], float32.

    With ``trim`` from the tokens that are read alone: N is then their number.
    """
    heads, width = query.shape[1], value.shape[-1]
    out, sums = _empty(query, len(this.read) if trim else query.shape[2], width)
    at = done = 0
    for n, length in this.own:
        part = slice(at, at + n * length)
        q, k, v = (x[0, :, part].view(heads, n, length, x.shape[-1]) for x in (query, key, value))
        kept = this.keep if trim else length
        answer, total = attend_squares(q[:, :, length - kept :], k, v, scale, _causal(this, length, query))
        filled = slice(done, done + n * kept)
        out[filled].view(n, kept, heads, width).copy_(answer.permute(1, 2, 0, 3))
        sums[filled].view(n, kept, heads).copy_(total.permute(1, 2, 0))
        at, done = part.stop, filled.stop
    return out, sums


def _causal(this: PackedPass, length: int, like: Tensor) -> Tensor:
    """What to add to scores of rows of one length, [length, length]."""
    mask = this.masks.get((length, like.device))
    if mask is None:
        mask = torch.full((length, length), -math.inf, dtype=sums_in(like), device=like.device).triu_(1)
        this.masks[(length, like.device)] = mask
    return mask


def _shared(this: PackedPass, layer: int, query: Tensor, width: int, scale: float, trim: bool) -> tuple[Tensor, Tensor]:
    """Attention to the prefixes: outputs [N, heads, width] and log-sum-exps [N, heads]; -inf where there is none.

    ``trim`` as in `_own`.
    """
    if trim:
        query = query.index_select(2, this.read.to(query.device))
    out, sums = _empty(query, query.shape[2], width)
    at = 0
    for n, length, prefix, cut in this.behind:
        part = slice(at, at + n * (this.keep if trim else length))
        if prefix is None:
            out[part], sums[part] = 0, -math.inf
        else:
            key, value = prefix.layers[layer]
            key, value = as_many_heads(key[:, :, :cut], value[:, :, :cut], query.shape[1])
            answer, total = attend(query[:, :, part], key, value, scale)
            out[part], sums[part] = answer[0].transpose(0, 1), total[0].transpose(0, 1)
        at = part.stop
    return out, sums


def _empty(query: Tensor, rows: int, width: int) -> tuple[Tensor, Tensor]:
    heads, dtype = query.shape[1], sums_in(query)
    return query.new_empty(rows, heads, width, dtype=dtype), query.new_empty(rows, heads, dtype=dtype)


def _refuse(
    module: Any,
    this: PackedPass | None,
    query: Tensor,
    mask: Tensor | None,
    window: int | None,
    causal: bool | None,
    others: dict[str, Any],
) -> None:
    if this is None:
        raise UnfitError("the packed attention is only for scoring")
    if mask is not None:
        raise UnfitError("the model builds an attention mask of its own")
    if causal is False or getattr(module, "is_causal", True) is False:
        raise UnfitError("its attention looks at later tokens")
    if window is not None and window < this.longest:
        raise UnfitError(f"its sliding window of {window} tokens is shorter than the row")
    unknown = sorted(name for name, given in others.items() if given is not None and given is not False)
    unknown = [name for name in unknown if name not in _PLAIN]
    if unknown:
        raise UnfitError(f"its attention takes {', '.join(unknown)}, which is not known here")
    if query.shape[0] != 1 or query.shape[2] != this.tokens:
        raise UnfitError("its attention is not over the packed row")
