"""How much goes into one forward: a budget of tokens that is halved when memory runs out, and stays halved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from harness.engine.devices import is_out_of_memory
from harness.errors import VictimError

T = TypeVar("T")


class Chunker:
    """Cuts equal rows into forwards of at most ``tokens`` tokens (at least one row each).

    Attributes:
        tokens: the present budget.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = max(1, tokens)

    def map(self, run: Callable[[slice], T], rows: int, length: int) -> Iterator[tuple[slice, T]]:
        """Yield (slice, ``run(slice)``) until ``rows`` rows of ``length`` tokens are done.

        Raises:
            VictimError: memory runs out on a single row.
        """
        done = 0
        while done < rows:
            size = max(1, self.tokens // max(1, length))
            part = slice(done, min(rows, done + size))
            answer = self.attempt(partial(run, part))
            if answer is None:
                ran = part.stop - part.start
                if ran == 1:
                    raise VictimError(
                        f"out of memory on one row of {length} tokens; use a smaller model, dtype: bfloat16, "
                        "or a larger device"
                    )
                self.tokens = max(1, ran // 2) * length
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
