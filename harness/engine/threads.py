"""Threads of torch: how many while a model is made, and how they wait for each other."""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar

_AROUND: ContextVar[int | None] = ContextVar("threads around what is made", default=None)


_SPINS = 10_000  # some 20 µs; by default GNU OpenMP spins thirty times as long


def give_way_soon(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have a thread that waits for the others of a product give its core away soon, unless the user says how it waits.

    Forwards of small models are many short products. If another process takes a core, a thread that spins keeps the
    one core away that the thread it waits for could have. To be called before torch is imported.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", str(_SPINS))


@contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """So many threads for what is made inside, since another number rounds sums differently; those from before
    afterwards.
    """
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
