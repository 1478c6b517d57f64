"""transformers' caches, filled with copies of prefixes and read back as prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from harness.engine.torch.scoring.kv_cache import PrefixKV
from harness.engine.torch.scoring.unsupported import UnsupportedModelError


class CopiedPrefixLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no types
    """Keys and values of one layer: prefixes of one length, each copied for some rows, and then the rows' own.

    Nothing is kept, so only one layer's copies are in memory at a time; transformers' own
    `DynamicCache.batch_repeat_interleave` copies all layers at once.
    """

    def __init__(self, prefixes: list[tuple[Tensor, Tensor, int]], length: int) -> None:
        """Take (key, value, rows) of each prefix, of whose tokens the first ``length`` count."""
        super().__init__()
        self._prefixes, self._length, self.is_initialized = prefixes, length, True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """What the rows attend to: keys and values [rows, key-value heads, prefix + new tokens, width]."""
        keys = self._after_copies([(k, rows) for k, _, rows in self._prefixes], key_states)
        return keys, self._after_copies([(v, rows) for _, v, rows in self._prefixes], value_states)

    def get_seq_length(self) -> int:
        """Tokens of the prefixes."""
        return self._length

    def _after_copies(self, prefixes: list[tuple[Tensor, int]], new: Tensor) -> Tensor:
        whole = new.new_empty(new.shape[0], new.shape[1], self._length + new.shape[2], new.shape[3])
        whole[:, :, self._length :] = new
        at = 0
        for prefix, rows in prefixes:
            whole[at : at + rows, :, : self._length] = prefix
            at += rows
        return whole


def cache_of_copies(prefixes: Sequence[tuple[PrefixKV, int]], length: int) -> Any:
    """A transformers cache for a batch of which so many consecutive rows follow each prefix.

    Args:
        prefixes: (prefix, rows) in the order of the batch, all of ``length`` tokens.
    """
    cache = DynamicCache()
    cache.layers = [
        CopiedPrefixLayer([(*prefix.layers[at], rows) for prefix, rows in prefixes], length)
        for at in range(len(prefixes[0][0].layers))
    ]
    return cache


def prefix_from_cache(cache: Any, length: int) -> PrefixKV:
    """The prefix of ``length`` tokens that a forward of one row left in a transformers cache.

    Raises:
        UnsupportedModelError: it left something else than keys and values of each token.
    """
    layers = [(layer.keys, layer.values) for layer in cache.layers if type(layer) is DynamicLayer]
    complete = all(
        isinstance(x, Tensor) and x.dim() == 4 and x.shape[0] == 1 and x.shape[2] == length
        for layer in layers
        for x in layer
    )
    if not layers or len(layers) < len(cache.layers) or not complete:
        raise UnsupportedModelError("it keeps something other than keys and values of each token")
    return PrefixKV(length, layers)
