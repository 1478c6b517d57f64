"""How much goes into one forward: a budget of tokens that is halved when memory runs out, and stays halved.

What is learnt is kept per sort of model, device, kind of work and length of rows for the life of the process: the next
checkpoint of the same victim begins with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar

import torch

from harness.engine.torch.devices import is_out_of_memory
from harness.errors import VictimError

T = TypeVar("T")
Kind = Literal["score", "gradient", "generate"]
KINDS: tuple[Kind, ...] = ("score", "gradient", "generate")


@dataclass
class Learnt:
    """Of one kind of work.

    Attributes:
        first: tokens to begin with; None until it was needed.
        most: tokens that a forward may have, by class of row length (see `_class`), where memory ran out.
    """

    first: int | None = None
    most: dict[int, int] = field(default_factory=dict)


_LEARNT: dict[Hashable, Learnt] = {}


class Chunker:
    """Cuts equal rows into forwards of at most so many tokens (at least one row each)."""

    def __init__(self, first: int | Callable[[], int], learnt: Learnt | None = None) -> None:
        """Begin with ``first`` tokens, where nothing less was learnt; a function is called once when it is needed."""
        self._first = first
        self._learnt = Learnt() if learnt is None else learnt

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
            if self._learnt.first is None:
                self._learnt.first = self._first()
            first = self._learnt.first
        return max(1, min([first, *(n for c, n in self._learnt.most.items() if c <= _class(length))]))

    def halve(self, tokens: int, length: int = 0) -> None:
        """Memory ran out on ``tokens`` tokens in rows of ``length`` (0: packed)."""
        self._learnt.most[_class(length)] = max(1, tokens // 2)

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
                    raise no_room(length)
                self.halve(ran * length, length)
                continue
            yield part, answer[0]
            done = part.stop

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
    def halved(self) -> dict[str, int]:
        """Tokens that memory allows by length of rows (0: packed), where it ran out."""
        return {str(1 << c >> 1): n for c, n in sorted(self._learnt.most.items())}


def chunkers(model: Any, device: torch.device, first: int | Callable[[Kind], int]) -> dict[Kind, Chunker]:
    """A chunker for each kind of work; a gradient runs out of memory at another size than a score.

    Args:
        first: tokens to begin with, or a function that finds them out for a kind of work.
    """
    shapes = repr([(name, tuple(p.shape)) for name, p in model.named_parameters()])
    sort = type(model).__name__, hashlib.sha256(shapes.encode()).hexdigest(), str(device), str(model.dtype)
    return {
        kind: Chunker(
            first if isinstance(first, int) else partial(first, kind), _LEARNT.setdefault((*sort, kind), Learnt())
        )
        for kind in KINDS
    }


def forget() -> None:
    """Begin anew with every model that is loaded from now on."""
    _LEARNT.clear()


def no_room(tokens: int) -> VictimError:
    """What to say when memory runs out on one row."""
    return VictimError(
        f"out of memory on one row of {tokens} tokens; use a smaller model, dtype: bfloat16, or a larger device"
    )


def _class(length: int) -> int:
    """Lengths from one power of two to the next are one class; 0 is a packed row."""
    return length.bit_length()
