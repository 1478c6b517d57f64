"""How many threads torch takes while a model is made: a fixed number, since another one rounds its sums differently."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_AROUND: ContextVar[int | None] = ContextVar("threads around what is made", default=None)


@contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """So many threads for what is made inside; those from before afterwards."""
    import torch  # slow, and needed only where something is made

    before = torch.get_num_threads()
    token = _AROUND.set(before if _AROUND.get() is None else _AROUND.get())
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _AROUND.reset(token)


def threads_around() -> int:
    """Torch's threads, or those from before `fixed_threads`: what a server takes that outlives what is made."""
    import torch

    return _AROUND.get() or torch.get_num_threads()
