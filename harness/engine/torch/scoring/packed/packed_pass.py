"""What a packed forward tells the attention function that runs within it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from harness.engine.torch.scoring.kv_cache import LayerKV, PrefixKV


class RowGroup(NamedTuple):
    """Consecutive rows of one length in a packed row: how many, and tokens of each."""

    rows: int
    length: int


class PrefixGroup(NamedTuple):
    """Consecutive rows that follow the same prefix: how many, tokens of each, the prefix, and how many of its tokens
    count; None where nothing stands before them.
    """

    rows: int
    length: int
    prefix: PrefixKV | None
    prefix_length: int


@dataclass
class PackedPass:
    """Who sees what in one packed forward.

    Attributes:
        row_groups: these cover the packed row.
        prefix_groups: likewise, cut in other places.
        read_at: indices of the tokens that are read, [rows * read_last].
        longest_row: tokens of the longest row with its prefix.
        read_last: how many tokens are read at the end of each row.
        keep_kv: whether to keep the keys and values of all tokens in ``kv``.
        differentiable: whether the forward is to be differentiated.
        last_layer: the attention layer after which nothing but ``read_at`` matters: it attends from there alone.
        kv: of each attention layer in order of execution.
        layers_done: attention layers that have run.
        masks: made once and shared by the layers.
    """

    row_groups: list[RowGroup]
    prefix_groups: list[PrefixGroup]
    read_at: Tensor
    longest_row: int
    read_last: int = 1
    keep_kv: bool = False
    differentiable: bool = False
    last_layer: int | None = None
    kv: LayerKV = field(default_factory=list)
    layers_done: int = 0
    masks: dict[Hashable, Tensor] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens of the packed row."""
        return sum(rows * length for rows, length in self.row_groups)


_CURRENT: ContextVar[PackedPass | None] = ContextVar("harness_packed_pass", default=None)


def current_pass() -> PackedPass | None:
    """The pass that is being run, or None."""
    return _CURRENT.get()


@contextmanager
def running(packed_pass: PackedPass) -> Iterator[None]:
    """Within, forwards with attention `PACKED_ATTENTION` follow this pass."""
    token = _CURRENT.set(packed_pass)
    try:
        yield
    finally:
        _CURRENT.reset(token)
