"""How much goes into one forward: a budget of tokens that is halved when memory runs out, and stays halved.

What is learnt is kept per sort of model, device, kind of work and length of rows for the life of the process: the next
checkpoint of the same victim begins with it. accelerate's `find_executable_batch_size` starts over at each call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar

import torch

from harness.engine.torch.devices import is_out_of_memory
from harness.errors import VictimError

T = TypeVar("T")
WorkKind = Literal["score", "gradient", "generate"]
WORK_KINDS: tuple[WorkKind, ...] = ("score", "gradient", "generate")


@dataclass
class ChunkLimits:
    """What was learnt about one kind of work with one sort of model.

    Attributes:
        first: tokens to begin with; None until it was needed.
        by_length: tokens that a forward may have, by class of row length (see `_length_class`), where memory ran out.
    """

    first: int | None = None
    by_length: dict[int, int] = field(default_factory=dict)


_LEARNT: dict[Hashable, ChunkLimits] = {}


class Chunker:
    """Cuts equal rows into forwards of at most so many tokens (at least one row each)."""

    def __init__(self, first: int | Callable[[], int], limits: ChunkLimits | None = None) -> None:
        """Begin with ``first`` tokens, where the limits allow it; a function is called once, when it is needed."""
        self._first = first
        self._limits = ChunkLimits() if limits is None else limits

    @property
    def tokens(self) -> int:
        """The present budget of a packed row, in which rows are not padded and their length matters little."""
        return self.budget(0)

    @tokens.setter
    def tokens(self, tokens: int) -> None:
        """Begin with another number, here alone."""
        self._first = max(1, tokens)

    def budget(self, length: int) -> int:
        """Tokens of a forward with rows of ``length`` tokens; longer rows never get more than shorter ones."""
        if isinstance(self._first, int):
            first = self._first
        else:
            if self._limits.first is None:
                self._limits.first = self._first()
            first = self._limits.first
        return max(1, min([first, *(n for c, n in self._limits.by_length.items() if c <= _length_class(length))]))

    def halve(self, tokens: int, length: int = 0) -> None:
        """Memory ran out on ``tokens`` tokens in rows of ``length`` (0: packed)."""
        self._limits.by_length[_length_class(length)] = max(1, tokens // 2)

    def map(self, run: Callable[[slice], T], rows: int, length: int) -> Iterator[tuple[slice, T]]:
        """Yield (slice, ``run(slice)``) until ``rows`` rows of ``length`` tokens are done.

        Raises:
            VictimError: memory runs out on a single row.
        """
        done = 0
        while done < rows:
            size = max(1, self.budget(length) // max(1, length))
            part = slice(done, min(rows, done + size))
            answer = self.attempt(partial(run, part))
            if answer is None:
                ran = part.stop - part.start
                if ran == 1:
                    raise out_of_memory(length)
                self.halve(ran * length, length)
                continue
            yield part, answer[0]
            done = part.stop

    def map_members(
        self, run: Callable[[list[int]], Iterable[T]], members: list[int], length: int
    ) -> Iterator[tuple[int, T]]:
        """Yield (member, its answer) for members whose rows have ``length`` tokens; raises as `map`.

        Args:
            run: answers some members, in order.
        """
        for part, answers in self.map(lambda part: run(members[part]), len(members), length):
            yield from zip(members[part], answers, strict=True)

    @staticmethod
    def attempt(run: Callable[[], T]) -> tuple[T] | None:
        """The answer of ``run``, or None where memory ran out."""
        # Returns before the retry, so that the traceback no longer holds the failed forward's tensors.
        try:
            return (run(),)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    @property
    def limited(self) -> dict[str, int]:
        """Tokens that memory allows by length of rows (0: packed), where it ran out."""
        return {str(1 << c >> 1): n for c, n in sorted(self._limits.by_length.items())}


def chunkers(model: Any, device: torch.device, first: int | Callable[[WorkKind], int]) -> dict[WorkKind, Chunker]:
    """A chunker for each kind of work; a gradient runs out of memory at another size than a score.

    Args:
        first: tokens to begin with, or a function that finds them out for a kind of work.
    """
    shapes = repr([(name, tuple(p.shape)) for name, p in model.named_parameters()])
    sort = type(model).__name__, hashlib.sha256(shapes.encode()).hexdigest(), str(device), str(model.dtype)
    return {
        kind: Chunker(
            first if isinstance(first, int) else partial(first, kind), _LEARNT.setdefault((*sort, kind), ChunkLimits())
        )
        for kind in WORK_KINDS
    }


def forget_limits() -> None:
    """Drop what was learnt: every model that is loaded from now on starts over."""
    _LEARNT.clear()


def out_of_memory(tokens: int) -> VictimError:
    """The error for memory that runs out on a single row of so many tokens."""
    return VictimError(
        f"out of memory on one row of {tokens} tokens; use a smaller model, dtype: bfloat16, or a larger device"
    )


def _length_class(length: int) -> int:
    """Lengths from one power of two to the next are one class; 0 is a packed row."""
    return length.bit_length()
