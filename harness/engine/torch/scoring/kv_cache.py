"""Keys and values of what candidates share, and a bounded memory of those that come again at each step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of the first tokens of a row.

    Attributes:
        length: tokens.
        layers: (key, value) of each attention layer, each [1, key-value heads, length, width].
    """

    length: int
    layers: list[tuple[Tensor, Tensor]]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(x.numel() * x.element_size() for layer in self.layers for x in layer)

    def then(self, kept: list[tuple[Tensor, Tensor]], tokens: slice) -> Prefix:
        """This prefix continued by some tokens of a packed row whose keys and values were kept."""
        layers = [
            (torch.cat([k, more_k[:, :, tokens]], 2), torch.cat([v, more_v[:, :, tokens]], 2))
            for (k, v), (more_k, more_v) in zip(self.layers, kept, strict=True)
        ]
        return Prefix(self.length + tokens.stop - tokens.start, layers)


def cut_out(kept: list[tuple[Tensor, Tensor]], tokens: slice) -> Prefix:
    """A prefix of its own from some tokens of a packed row; a copy, so the row's memory can go."""
    layers = [(k[:, :, tokens].contiguous().clone(), v[:, :, tokens].contiguous().clone()) for k, v in kept]
    return Prefix(tokens.stop - tokens.start, layers)


class PrefixCache:
    """The prefixes used last, by their ids, up to a number of bytes.

    Attributes:
        limit: bytes; what does not fit is not kept.
        used: bytes held.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._held: OrderedDict[bytes, Prefix] = OrderedDict()

    def get(self, key: bytes) -> Prefix | None:
        """The prefix of these ids, or None."""
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def put(self, key: bytes, prefix: Prefix) -> None:
        """Keep a prefix; those unused for longest make room."""
        if key in self._held or prefix.size > self.limit:
            return
        self._held[key] = prefix
        self.used += prefix.size
        while self.used > self.limit:
            _, gone = self._held.popitem(last=False)
            self.used -= gone.size

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Within, nothing is held; what is put in is forgotten afterwards, and what was held is there again."""
        held, used = self._held, self.used
        self._held, self.used = OrderedDict(), 0
        try:
            yield
        finally:
            self._held, self.used = held, used

    def clear(self) -> None:
        """Forget all, when memory is short or the model has changed."""
        self._held.clear()
        self.used = 0
