"""Queries, keys and values of one packed row of candidates behind one prefix, in a model's shapes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from harness.engine.torch.scoring.kv_cache import PrefixKV
from harness.engine.torch.scoring.packed.packed_pass import PackedPass, PrefixGroup, RowGroup
from tests.gpu.models import workload
from tests.gpu.parts import Setting

_ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 4e-2, torch.float16: 5e-3}
_STARTS = 5  # groups of candidates, by where they begin to differ


@dataclass(frozen=True)
class Inputs:
    """What one attention layer is given.

    Attributes:
        query, key, value: of the packed row, [1, heads, tokens, width]; heads of keys and values may be fewer.
        prefix: what stands before, the current string included.
        own: who sees what.
        rounding: the largest difference of an output that counts as such.
        rounds, repeats: how often it is timed, and how many calls are timed together.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    prefix: PrefixKV
    own: PackedPass
    scale: float
    rounding: float
    rounds: int
    repeats: int

    def float(self) -> Inputs:
        """The same values in float32."""
        prefix = PrefixKV(self.prefix.length, [(k.float(), v.float()) for k, v in self.prefix.layers])
        groups = [group._replace(prefix=prefix) for group in self.own.prefix_groups]
        query, key, value = (x.float() for x in (self.query, self.key, self.value))
        return replace(self, query=query, key=key, value=value, prefix=prefix, own=_pass(groups, query.device))


def inputs(config: Any, dtype: torch.dtype, setting: Setting) -> Inputs:
    """Candidates that begin to differ at some places of the string, the same number at each."""
    shape, device = workload(setting), torch.device(setting.device)
    heads, width = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    torch.manual_seed(0)

    def values(heads: int, tokens: int) -> Tensor:
        return torch.randn(1, tokens, heads, width, device=device).to(dtype).transpose(1, 2)  # as models give them

    step = shape.suffix // _STARTS
    length = shape.prefix + shape.suffix
    prefix = PrefixKV(length, [(values(kv_heads, length).contiguous(), values(kv_heads, length).contiguous())])
    groups = [
        PrefixGroup(shape.candidates // _STARTS, shape.suffix - start + shape.tail, prefix, shape.prefix + start)
        for start in range(0, step * _STARTS, step)
    ]
    own = _pass(groups, device)
    query, key, value = values(heads, own.tokens), values(kv_heads, own.tokens), values(kv_heads, own.tokens)
    rounds, repeats = (2, 2) if setting.small else (7, 20)
    return Inputs(query, key, value, prefix, own, width**-0.5, _ROUNDING[dtype], rounds, repeats)


def _pass(groups: list[PrefixGroup], device: torch.device) -> PackedPass:
    lengths = torch.cat([torch.full((group.rows,), group.length) for group in groups])
    rows = [RowGroup(group.rows, group.length) for group in groups]
    longest = max(group.prefix_length + group.length for group in groups)
    return PackedPass(rows, groups, (lengths.cumsum(0) - 1).to(device), longest)
