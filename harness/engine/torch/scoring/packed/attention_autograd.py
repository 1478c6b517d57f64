"""Attention over a packed row as plain autograd can differentiate it: each row sees its prefix and itself."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.engine.torch.scoring.packed.attention_kernels import as_many_heads
from harness.engine.torch.scoring.packed.packed_pass import PackedPass


def attend_differentiably(
    this: PackedPass, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, trim: bool
) -> Tensor:
    """Outputs [N, heads, width] of queries [1, heads, N, width]; prefixes are constants.

    Rows of equal length share one call; shorter prefixes among them are filled up and masked.

    Args:
        trim: only what is read is computed; the rest is zero.
    """
    key, value = as_many_heads(key, value, query.shape[1])
    outs, at, behind = [], 0, iter(this.behind)
    for n, length in this.own:
        stop = at + n * length
        q, k, v = (x[0, :, at:stop].view(-1, n, length, x.shape[-1]).transpose(0, 1) for x in (query, key, value))
        before = [next(behind)[2:] for _ in range(n)]  # every row is a piece of its own
        cuts = tuple(cut for _, cut in before)
        if max(cuts):
            held = [prefix.layers[layer] if prefix else None for prefix, _ in before]
            k = torch.cat([_filled([x and x[0] for x in held], cuts, k), k], 2)
            v = torch.cat([_filled([x and x[1] for x in held], cuts, v), v], 2)
        mask = _mask(this, cuts, length, q.device)
        if trim:
            q, mask = q[:, :, -this.keep :], mask[:, :, -this.keep :]
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=scale)
        outs.append(out.transpose(1, 2).flatten(0, 1))
        at = stop
    out = torch.cat(outs)
    if trim:
        out = out.new_zeros(query.shape[2], *out.shape[1:]).index_copy(0, this.read.to(out.device), out)
    return out


def _filled(held: list[Tensor | None], cuts: tuple[int, ...], like: Tensor) -> Tensor:
    """Keys or values of prefixes, each [1, key-value heads, at least its cut, width], filled up with zeros.

    Returns:
        [n, heads, longest cut, width] for ``like`` of shape [n, heads, tokens, width].
    """
    n, heads, _, width = like.shape
    found = like.new_zeros(n, heads, max(cuts), width)
    for row, x, cut in zip(found, held, cuts, strict=True):
        if x is not None:
            row[:, :cut] = x[0, :, :cut].repeat_interleave(heads // x.shape[1], 0)
    return found


def _mask(this: PackedPass, cuts: tuple[int, ...], length: int, device: torch.device) -> Tensor:
    """Who sees what, [n, 1, length, widest + length]; True is seen."""
    found = this.masks.get((cuts, length, device))
    if found is None:
        widest = max(cuts)
        seen = torch.arange(widest, device=device) < torch.as_tensor(cuts, device=device)[:, None]
        own = torch.ones(length, length, dtype=torch.bool, device=device).tril_()
        shape = (len(cuts), 1, length)
        found = torch.cat([seen[:, None, None].expand(*shape, widest), own.expand(*shape, length)], 3)
        this.masks[(cuts, length, device)] = found
    return found
