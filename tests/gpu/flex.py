"""The attention of a packed row in one call of PyTorch's FlexAttention."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from tests.gpu.attention_inputs import Inputs


def flex_attended(x: Inputs, compiled: bool) -> Callable[[], Tensor]:
    """A function that gives outputs [1, heads, tokens, width].

    The mask is made here: a forward makes it once for all layers. Keys and values are put together in each call.
    """
    device, tokens, base = x.query.device, x.own.tokens, x.prefix.length
    groups = x.own.prefix_groups
    lengths = torch.cat([torch.full((group.rows,), group.length) for group in groups])
    row = torch.repeat_interleave(torch.arange(len(lengths)), lengths).to(device)
    visible = torch.cat([torch.full((group.rows * group.length,), group.prefix_length) for group in groups]).to(device)

    def seen(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        own = (k - base).clamp(min=0)
        return torch.where(k < base, k < visible[q], (row[own] == row[q]) & (own <= q))

    mask = create_block_mask(seen, None, None, tokens, base + tokens, device=device)
    attend = torch.compile(flex_attention, dynamic=False) if compiled else flex_attention
    key, value = x.prefix.layers[0]

    def call() -> Tensor:
        keys, values = torch.cat([key, x.key], 2), torch.cat([value, x.value], 2)
        out = attend(x.query, keys, values, block_mask=mask, scale=x.scale, enable_gqa=True)
        assert isinstance(out, Tensor)
        return out

    return call
