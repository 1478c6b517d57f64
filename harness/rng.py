"""Randomness that depends on names alone, so that a stopped run goes on as if it had never stopped, on any machine, in
any order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np


def named_rng(*names: str | int) -> np.random.Generator:
    """A generator seeded by the sha256 of the names, e.g. ``named_rng(seed, cell_key, example_id, step)``."""
    digest = hashlib.sha256("\x1f".join(str(name) for name in names).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


def named_seed(*names: str | int) -> int:
    """A 63-bit seed for libraries that take an integer."""
    return int(named_rng(*names).integers(2**63 - 1))


def endless_permutation(count: int, rng: np.random.Generator) -> Iterator[int]:
    """0 … count-1 in random order, then all again in another order, without end."""
    while True:
        yield from (int(i) for i in rng.permutation(count))
