"""What a packed forward tells the attention function that runs within it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from torch import Tensor

from harness.engine.torch.scoring.kv_cache import Prefix


class UnfitError(Exception):
    """The model's attention cannot be computed on packed rows; the text says why."""


FAILURES = (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""How a model that cannot take a packed row fails in its own words; another way of computing remains."""


def words_of(error: Exception) -> str:
    """Why, in one line."""
    if isinstance(error, UnfitError):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


@dataclass
class PackedPass:
    """Who sees what in one packed forward.

    Attributes:
        own: (candidates, tokens of each) of consecutive stretches; they cover the row.
        behind: (candidates, tokens of each, prefix, its length that counts) of consecutive stretches; likewise.
        read: the tokens that are read, shape [n * keep].
        longest: tokens of the longest whole row, prefix included.
        keep: tokens at the end of each candidate that are read.
        capture: keep the keys and values of all tokens in ``kept``.
        grad: the forward is to be differentiated.
        final: the attention layer after which nothing but ``read`` matters: it attends from there alone.
        kept: (key, value), each [1, key-value heads, N, width], of each attention layer in order of execution.
        layer: attention layers done.
        masks: made once and shared by the layers.
    """

    own: list[tuple[int, int]]
    behind: list[tuple[int, int, Prefix | None, int]]
    read: Tensor
    longest: int
    keep: int = 1
    capture: bool = False
    grad: bool = False
    final: int | None = None
    kept: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    layer: int = 0
    masks: dict[Hashable, Tensor] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens of the packed row."""
        return sum(n * length for n, length in self.own)


_ACTIVE: ContextVar[PackedPass | None] = ContextVar("harness_packed_pass", default=None)


def current() -> PackedPass | None:
    """The pass that is being run, or None."""
    return _ACTIVE.get()


@contextmanager
def active(this: PackedPass) -> Iterator[None]:
    """Within, forwards with attention `NAME` follow ``this``."""
    token = _ACTIVE.set(this)
    try:
        yield
    finally:
        _ACTIVE.reset(token)
