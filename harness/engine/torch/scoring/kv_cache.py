"""Keys and values of what candidates share, and a bounded cache of those that come again at each step.

transformers' caches belong to one batch of rows; here one copy serves rows of many forwards.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.tokens.tokenizer import Tokens

LayerKV = list[tuple[Tensor, Tensor]]
"""(key, value) of each attention layer, each [1, key-value heads, tokens, width of a head]."""


@dataclass(frozen=True, slots=True)
class PrefixKV:
    """Keys and values of the first tokens of a row.

    Attributes:
        length: tokens.
        layers: of ``length`` tokens each.
    """

    length: int
    layers: LayerKV

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(x.numel() * x.element_size() for layer in self.layers for x in layer)

    def extended(self, row: LayerKV, tokens: slice) -> PrefixKV:
        """This prefix followed by some tokens of a packed row whose keys and values were kept."""
        layers = [
            (torch.cat([k, more_k[:, :, tokens]], 2), torch.cat([v, more_v[:, :, tokens]], 2))
            for (k, v), (more_k, more_v) in zip(self.layers, row, strict=True)
        ]
        return PrefixKV(self.length + tokens.stop - tokens.start, layers)


def copy_tokens(row: LayerKV, tokens: slice) -> PrefixKV:
    """Keys and values of some tokens of a packed row as a prefix of their own; a copy, so the row's memory can go."""
    layers = [(k[:, :, tokens].contiguous().clone(), v[:, :, tokens].contiguous().clone()) for k, v in row]
    return PrefixKV(tokens.stop - tokens.start, layers)


def cache_key(*parts: Tokens) -> bytes:
    """What a prefix of these ids, in these parts, is known by."""
    return b"|".join(part.astype(np.int64, copy=False).tobytes() for part in parts)


class PrefixCache:
    """The prefixes used last, by `cache_key` of their ids, up to a number of bytes.

    An `OrderedDict` rather than a dependency (cachetools) for these few lines.

    Attributes:
        limit: bytes; a prefix that does not fit is not kept.
        used: bytes held.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._held: OrderedDict[bytes, PrefixKV] = OrderedDict()
        self._weights: object = None

    def get(self, key: bytes) -> PrefixKV | None:
        """The prefix of this key, or None."""
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def put(self, key: bytes, prefix: PrefixKV) -> None:
        """Keep a prefix; those unused for longest make room."""
        if key in self._held or prefix.size > self.limit:
            return
        self._held[key] = prefix
        self.used += prefix.size
        while self.used > self.limit:
            _, dropped = self._held.popitem(last=False)
            self.used -= dropped.size

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Within, the cache is empty; what is put in is forgotten afterwards, and what was held is there again."""
        held, used = self._held, self.used
        self._held, self.used = OrderedDict(), 0
        try:
            yield
        finally:
            self._held, self.used = held, used

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Within, prefixes may be read and put in; afterwards those from before are held, in the order of their use."""
        held, used = self._held.copy(), self.used
        try:
            yield
        finally:
            self._held, self.used = held, used

    def clear(self) -> None:
        """Forget all prefixes."""
        self._held.clear()
        self.used = 0

    def clear_if_changed(self, model: Any) -> None:
        """Forget all prefixes where the model's weights are not those of the last call."""
        weights = tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in model.parameters())
        if weights != self._weights:
            self.clear()
            self._weights = weights
