"""Attention over a packed row: each token sees its own candidate so far and, apart from that, its example's prefix.

The two parts are computed as separate products and merged by their log-sum-exp, which is exact. All candidates of one
example read one copy of the prefix's keys and values. The function is registered with transformers under `NAME`; no
mask function is, so models build no mask. It serves any decoder that takes its attention from that registry.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from harness.engine.scoring.prefix import Prefix

NAME = "harness_packed"
_PLAIN = {"position_ids", "cache_position", "use_cache", "dropout"}  # say nothing about what a token may look at


class UnfitError(Exception):
    """The model's attention cannot be computed on packed rows; the text says why."""


@dataclass
class Pass:
    """Who sees what in one packed forward.

    Attributes:
        own: (candidates, tokens of each) of consecutive stretches; they cover the row.
        behind: (tokens, prefix, its length that counts) of consecutive stretches; they cover the row.
        longest: tokens of the longest whole row, prefix included.
        capture: keep the keys and values of all tokens in ``kept``.
        kept: (key, value), each [1, key-value heads, N, width], of each attention layer in order of execution.
        layer: attention layers done.
        causal: masks for own parts by length, shared by the layers.
    """

    own: list[tuple[int, int]]
    behind: list[tuple[int, Prefix | None, int]]
    longest: int
    capture: bool = False
    kept: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    layer: int = 0
    causal: dict[int, Tensor] = field(default_factory=dict)


_ACTIVE: ContextVar[Pass | None] = ContextVar("harness_packed_pass", default=None)


@contextmanager
def active(this: Pass) -> Iterator[None]:
    """Within, forwards with attention `NAME` follow ``this``."""
    token = _ACTIVE.set(this)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


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
    this = _ACTIVE.get()
    _refuse(module, this, query, attention_mask, sliding_window, is_causal, others)
    assert this is not None
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    if this.capture:
        this.kept.append((key, value))
    layer, this.layer = this.layer, this.layer + 1
    out, own = _own(this, query, *_as_many_heads(key, value, query.shape[1]), scale)
    if any(prefix is not None for _, prefix, _ in this.behind):
        seen, shared = _shared(this, layer, query, value.shape[-1], scale)
        out = torch.lerp(out, seen.to(out.dtype), torch.sigmoid(shared.to(own.dtype) - own)[..., None])
    return out.to(query.dtype)[None], None


AttentionInterface.register(NAME, packed_attention)


def _own(this: Pass, query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Causal attention within each candidate: outputs [N, heads, width] and log-sum-exps [N, heads], float32."""
    outs, sums, at = [], [], 0
    for n, length in this.own:
        stop = at + n * length
        q, k, v = (x[0, :, at:stop].view(-1, n, length, x.shape[-1]).transpose(0, 1) for x in (query, key, value))
        scores = torch.matmul(q, k.transpose(2, 3)).to(_sums_in(q)).mul_(scale)
        if length > 1:
            if length not in this.causal:
                never = torch.full((length, length), -math.inf, dtype=scores.dtype, device=scores.device)
                this.causal[length] = never.triu_(1)
            scores += this.causal[length]
        shares = scores.softmax(-1)
        # The largest share is at least 1 / length: no logarithm of zero.
        sums.append((scores.amax(-1) - shares.amax(-1).log()).transpose(1, 2).flatten(0, 1))
        outs.append(torch.matmul(shares.to(v.dtype), v).transpose(1, 2).flatten(0, 1))
        at = stop
    return _joined(outs).to(_sums_in(query)), _joined(sums)


def _shared(this: Pass, layer: int, query: Tensor, width: int, scale: float) -> tuple[Tensor, Tensor]:
    """Attention to the prefixes: outputs [N, heads, width] and log-sum-exps [N, heads]; -inf where there is none."""
    outs, sums, at = [], [], 0
    for tokens, prefix, length in this.behind:
        if prefix is None:
            outs.append(query.new_zeros(tokens, query.shape[1], width))
            sums.append(query.new_full((tokens, query.shape[1]), -math.inf, dtype=_sums_in(query)))
        else:
            key, value = prefix.layers[layer]
            key, value = _as_many_heads(key[:, :, :length], value[:, :, :length], query.shape[1])
            out, total = attend(query[:, :, at : at + tokens], key, value, scale)
            outs.append(out[0].transpose(0, 1))
            sums.append(total[0].transpose(0, 1))
        at += tokens
    return _joined(outs), _joined(sums)


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attention of all queries to all keys: outputs [1, heads, q, width] and log-sum-exps [1, heads, q]."""
    if query.device.type == "cpu" and query.shape[-1] == value.shape[-1]:
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, False, scale=scale)
        return fused[0], fused[1]
    scores = torch.matmul(query, key.transpose(2, 3)).to(_sums_in(query)).mul_(scale)
    shares = scores.softmax(-1)
    return torch.matmul(shares.to(value.dtype), value), scores.amax(-1) - shares.amax(-1).log()


def _as_many_heads(key: Tensor, value: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    times = heads // key.shape[1]
    return (key, value) if times == 1 else (key.repeat_interleave(times, 1), value.repeat_interleave(times, 1))


def _sums_in(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


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
    if query.shape[0] != 1 or query.shape[2] != sum(n * length for n, length in this.own):
        raise UnfitError("its attention is not over the packed row")
