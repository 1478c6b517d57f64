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

from harness.engine.scoring.kernels import attend, attend_plainly, sums_in
from harness.engine.scoring.passes import Pass, UnfitError, current

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
        this.kept.append((key, value))
    layer, this.layer = this.layer, this.layer + 1
    trim = layer == this.final
    out, own = _own(this, query, *_as_many_heads(key, value, query.shape[1]), scale, trim)
    if any(prefix is not None for _, _, prefix, _ in this.behind):
        seen, shared = _shared(this, layer, query, value.shape[-1], scale, trim)
        out = torch.lerp(out, seen.to(out.dtype), torch.sigmoid(shared.to(own.dtype) - own)[..., None])
    if trim:
        out = out.new_zeros(query.shape[2], *out.shape[1:]).index_copy_(0, this.read, out)
    return out.to(query.dtype)[None], None


AttentionInterface.register(NAME, packed_attention)


def _own(this: Pass, query: Tensor, key: Tensor, value: Tensor, scale: float, trim: bool) -> tuple[Tensor, Tensor]:
    """Causal attention within each candidate: outputs [N, heads, width] and log-sum-exps [N, heads], float32.

    With ``trim`` from the tokens that are read alone: N is then their number.
    """
    outs, sums, at = [], [], 0
    for n, length in this.own:
        stop = at + n * length
        q, k, v = (x[0, :, at:stop].view(-1, n, length, x.shape[-1]).transpose(0, 1) for x in (query, key, value))
        mask = None
        queries = this.keep if trim else length
        if trim:
            q = q[:, :, -queries:]
        if queries > 1:
            mask = this.causal.get(length)
            if mask is None:
                mask = torch.full((length, length), -math.inf, dtype=sums_in(q), device=q.device).triu_(1)
                this.causal[length] = mask
            mask = mask[-queries:]
        out, total = attend_plainly(q, k, v, scale, mask)
        outs.append(out.transpose(1, 2).flatten(0, 1))
        sums.append(total.transpose(1, 2).flatten(0, 1))
        at = stop
    return _joined(outs).to(sums_in(query)), _joined(sums)


def _shared(this: Pass, layer: int, query: Tensor, width: int, scale: float, trim: bool) -> tuple[Tensor, Tensor]:
    """Attention to the prefixes: outputs [N, heads, width] and log-sum-exps [N, heads]; -inf where there is none.

    ``trim`` as in `_own`.
    """
    if trim:
        query = query.index_select(2, this.read)
    outs, sums, at = [], [], 0
    for n, length, prefix, cut in this.behind:
        stop = at + n * (this.keep if trim else length)
        if prefix is None:
            outs.append(query.new_zeros(stop - at, query.shape[1], width))
            sums.append(query.new_full((stop - at, query.shape[1]), -math.inf, dtype=sums_in(query)))
        else:
            key, value = prefix.layers[layer]
            key, value = _as_many_heads(key[:, :, :cut], value[:, :, :cut], query.shape[1])
            out, total = attend(query[:, :, at:stop], key, value, scale)
            outs.append(out[0].transpose(0, 1))
            sums.append(total[0].transpose(0, 1))
        at = stop
    return _joined(outs), _joined(sums)


def _as_many_heads(key: Tensor, value: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    times = heads // key.shape[1]
    return (key, value) if times == 1 else (key.repeat_interleave(times, 1), value.repeat_interleave(times, 1))


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _refuse(
    module: Any,
    this: Pass | None,
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
