"""Attention over a packed row as plain autograd can differentiate it: each row sees its prefix and itself."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.engine.torch.scoring.packed.attention_kernels import repeat_heads
from harness.engine.torch.scoring.packed.packed_pass import PackedPass


def attend_differentiably(
    packed: PackedPass, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, trim: bool
) -> Tensor:
    """Outputs [N, heads, width] of queries [1, heads, N, width]; prefixes are constants.

    Rows of equal length share one call; shorter prefixes among them are filled up and masked.

    Args:
        trim: only what is read is computed; the rest is zero.
    """
    key, value = repeat_heads(key, value, query.shape[1])
    outs, at, groups = [], 0, iter(packed.prefix_groups)
    for rows, length in packed.row_groups:
        stop = at + rows * length
        q, k, v = (x[0, :, at:stop].view(-1, rows, length, x.shape[-1]).transpose(0, 1) for x in (query, key, value))
        prefixes = [next(groups)[2:] for _ in range(rows)]  # every row is a piece of its own
        lengths = tuple(prefix_length for _, prefix_length in prefixes)
        if max(lengths):
            layers = [prefix.layers[layer] if prefix else None for prefix, _ in prefixes]
            k = torch.cat([_filled_up([kv and kv[0] for kv in layers], lengths, k), k], 2)
            v = torch.cat([_filled_up([kv and kv[1] for kv in layers], lengths, v), v], 2)
        mask = _mask(packed, lengths, length, q.device)
        if trim:
            q, mask = q[:, :, -packed.read_last :], mask[:, :, -packed.read_last :]
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=scale)
        outs.append(out.transpose(1, 2).flatten(0, 1))
        at = stop
    out = torch.cat(outs)
    if trim:
        out = out.new_zeros(query.shape[2], *out.shape[1:]).index_copy(0, packed.read_at.to(out.device), out)
    return out


def _filled_up(prefixes: list[Tensor | None], lengths: tuple[int, ...], like: Tensor) -> Tensor:
    """Keys or values of prefixes, each [1, key-value heads, at least its length, width], filled up with zeros.

    Returns:
        [rows, heads, longest, width] for ``like`` of shape [rows, heads, tokens, width].
    """
    rows, heads, _, width = like.shape
    filled = like.new_zeros(rows, heads, max(lengths), width)
    for row, prefix, length in zip(filled, prefixes, lengths, strict=True):
        if prefix is not None:
            row[:, :length] = prefix[0, :, :length].repeat_interleave(heads // prefix.shape[1], 0)
    return filled


def _mask(packed: PackedPass, prefix_lengths: tuple[int, ...], length: int, device: torch.device) -> Tensor:
    """Who sees what, [rows, 1, length, longest prefix + length]; True is seen."""
    mask = packed.masks.get((prefix_lengths, length, device))
    if mask is None:
        longest = max(prefix_lengths)
        in_prefix = torch.arange(longest, device=device) < torch.as_tensor(prefix_lengths, device=device)[:, None]
        in_row = torch.ones(length, length, dtype=torch.bool, device=device).tril_()
        shape = (len(prefix_lengths), 1, length)
        mask = torch.cat([in_prefix[:, None, None].expand(*shape, longest), in_row.expand(*shape, length)], 3)
        packed.masks[(prefix_lengths, length, device)] = mask
    return mask
