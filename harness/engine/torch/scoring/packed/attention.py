"""Attention over a packed row: each token sees its own candidate so far and, apart from that, its example's prefix.

The two parts are computed as separate products and merged by their log-sum-exp, which is exact. All candidates of one
example read one copy of the prefix's keys and values. The function is registered with transformers under
`PACKED_ATTENTION`; no mask function is, so models build no mask. It serves any decoder that takes its attention from
that registry.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from harness.engine.torch.scoring.packed.attention_autograd import attend_differentiably
from harness.engine.torch.scoring.packed.attention_kernels import attend, attend_within_rows, repeat_heads, sum_dtype
from harness.engine.torch.scoring.packed.packed_pass import PackedPass, current_pass
from harness.engine.torch.scoring.unsupported import UnsupportedModelError

PACKED_ATTENTION = "harness_packed"
_HARMLESS = {"position_ids", "cache_position", "use_cache", "dropout"}  # say nothing about what a token may look at


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
        UnsupportedModelError: something about this layer that is not understood.
    """
    packed = current_pass()
    _refuse(module, packed, query, attention_mask, sliding_window, is_causal, others)
    assert packed is not None
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    if packed.keep_kv:
        packed.kv.append((key.detach(), value.detach()))
    layer, packed.layers_done = packed.layers_done, packed.layers_done + 1
    trim = layer == packed.last_layer
    if packed.differentiable:
        return attend_differentiably(packed, layer, query, key, value, scale, trim).to(query.dtype)[None], None
    out, sums = _within_rows(packed, query, *repeat_heads(key, value, query.shape[1]), scale, trim)
    if any(group.prefix is not None for group in packed.prefix_groups):
        prefix_out, prefix_sums = _to_prefixes(packed, layer, query, value.shape[-1], scale, trim)
        out.lerp_(prefix_out, prefix_sums.sub_(sums).sigmoid_()[..., None])
    if trim:
        out = out.new_zeros(query.shape[2], *out.shape[1:]).index_copy_(0, packed.read_at.to(out.device), out)
    return out.to(query.dtype)[None], None


AttentionInterface.register(PACKED_ATTENTION, packed_attention)


def _within_rows(
    packed: PackedPass, query: Tensor, key: Tensor, value: Tensor, scale: float, trim: bool
) -> tuple[Tensor, Tensor]:
    """Causal attention within each row: outputs [N, heads, width] and log-sum-exps [N, heads], float32.

    With ``trim`` from the tokens that are read alone: N is then their number.
    """
    heads, width = query.shape[1], value.shape[-1]
    out, sums = _empty(query, len(packed.read_at) if trim else query.shape[2], width)
    at = done = 0
    for rows, length in packed.row_groups:
        tokens = slice(at, at + rows * length)
        q, k, v = (x[0, :, tokens].view(heads, rows, length, x.shape[-1]) for x in (query, key, value))
        kept = packed.read_last if trim else length
        answer, total = attend_within_rows(q[:, :, length - kept :], k, v, scale, _causal_mask(packed, length, query))
        filled = slice(done, done + rows * kept)
        out[filled].view(rows, kept, heads, width).copy_(answer.permute(1, 2, 0, 3))
        sums[filled].view(rows, kept, heads).copy_(total.permute(1, 2, 0))
        at, done = tokens.stop, filled.stop
    return out, sums


def _causal_mask(packed: PackedPass, length: int, like: Tensor) -> Tensor:
    """What to add to scores of rows of one length, [length, length]."""
    mask = packed.masks.get((length, like.device))
    if mask is None:
        mask = torch.full((length, length), -math.inf, dtype=sum_dtype(like), device=like.device).triu_(1)
        packed.masks[(length, like.device)] = mask
    return mask


def _to_prefixes(
    packed: PackedPass, layer: int, query: Tensor, width: int, scale: float, trim: bool
) -> tuple[Tensor, Tensor]:
    """Attention to the prefixes: outputs [N, heads, width] and log-sum-exps [N, heads]; -inf where there is none.

    ``trim`` as in `_within_rows`.
    """
    if trim:
        query = query.index_select(2, packed.read_at.to(query.device))
    out, sums = _empty(query, query.shape[2], width)
    at = 0
    for rows, length, prefix, prefix_length in packed.prefix_groups:
        tokens = slice(at, at + rows * (packed.read_last if trim else length))
        if prefix is None:
            out[tokens], sums[tokens] = 0, -math.inf
        else:
            key, value = prefix.layers[layer]
            key, value = repeat_heads(key[:, :, :prefix_length], value[:, :, :prefix_length], query.shape[1])
            answer, total = attend(query[:, :, tokens], key, value, scale)
            out[tokens], sums[tokens] = answer[0].transpose(0, 1), total[0].transpose(0, 1)
        at = tokens.stop
    return out, sums


def _empty(query: Tensor, tokens: int, width: int) -> tuple[Tensor, Tensor]:
    """Room for outputs [tokens, heads, width] and log-sum-exps [tokens, heads]."""
    heads, dtype = query.shape[1], sum_dtype(query)
    return query.new_empty(tokens, heads, width, dtype=dtype), query.new_empty(tokens, heads, dtype=dtype)


def _refuse(
    module: Any,
    packed: PackedPass | None,
    query: Tensor,
    mask: Tensor | None,
    window: int | None,
    causal: bool | None,
    others: dict[str, Any],
) -> None:
    """Raise UnsupportedModelError for a layer that attends otherwise than `packed_attention` does."""
    if packed is None:
        raise UnsupportedModelError("the packed attention is only for scoring")
    if mask is not None:
        raise UnsupportedModelError("the model builds an attention mask of its own")
    if causal is False or getattr(module, "is_causal", True) is False:
        raise UnsupportedModelError("its attention looks at later tokens")
    if window is not None and window < packed.longest_row:
        raise UnsupportedModelError(f"its sliding window of {window} tokens is shorter than the row")
    unknown = sorted(name for name, given in others.items() if given is not None and given is not False)
    unknown = [name for name in unknown if name not in _HARMLESS]
    if unknown:
        raise UnsupportedModelError(f"its attention takes {', '.join(unknown)}, which is not known here")
    if query.shape[0] != 1 or query.shape[2] != packed.tokens:
        raise UnsupportedModelError("its attention is not over the packed row")
