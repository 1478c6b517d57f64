"""transformers' caches, filled with copies of prefixes and read back as prefixes."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from harness.engine.torch.scoring.kv_cache import Prefix
from harness.engine.torch.scoring.packed.packed_pass import UnfitError


class CopiedLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no types
    """Keys and values of one layer: prefixes of one length, each copied for some rows, and then the rows' own.

    Nothing is kept, so only one layer's copies are in memory at a time.
    """

    def __init__(self, stretches: list[tuple[Tensor, Tensor, int]], cut: int) -> None:
        super().__init__()
        self._stretches, self._cut, self.is_initialized = stretches, cut, True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """What the rows attend to."""
        keys = self._filled([(k, n) for k, _, n in self._stretches], key_states)
        return keys, self._filled([(v, n) for _, v, n in self._stretches], value_states)

    def get_seq_length(self) -> int:
        """Tokens of the prefixes."""
        return self._cut

    def _filled(self, copies: list[tuple[Tensor, int]], own: Tensor) -> Tensor:
        found = own.new_empty(own.shape[0], own.shape[1], self._cut + own.shape[2], own.shape[3])
        found[:, :, self._cut :] = own
        at = 0
        for x, n in copies:
            found[at : at + n, :, : self._cut] = x
            at += n
        return found


def behind(stretches: list[tuple[Prefix, int]], cut: int) -> Any:
    """A cache in which consecutive stretches of rows stand behind one prefix each."""
    cache = DynamicCache()
    cache.layers = [
        CopiedLayer([(*prefix.layers[at], n) for prefix, n in stretches], cut)
        for at in range(len(stretches[0][0].layers))
    ]
    return cache


def taken_from(cache: Any, length: int) -> Prefix:
    """The prefix of ``length`` tokens that a forward left in a cache.

    Raises:
        UnfitError: it left something else than keys and values of each token.
    """
    layers = [(layer.keys, layer.values) for layer in cache.layers if type(layer) is DynamicLayer]
    whole = all(
        isinstance(x, Tensor) and x.dim() == 4 and x.shape[0] == 1 and x.shape[2] == length
        for layer in layers
        for x in layer
    )
    if not layers or len(layers) < len(cache.layers) or not whole:
        raise UnfitError("it keeps something else than keys and values of each token")
    return Prefix(length, layers)
