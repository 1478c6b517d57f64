"""Splits of a task's rows: by the hash of a text, and in an order that follows from a seed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from typing import Literal, TypeVar

Split = Literal["train", "validation"]
T = TypeVar("T")


def split_by_hash(text: str, validation_fraction: float = 0.5) -> Split:
    """The split that a text belongs to, from its own hash: equal texts always fall into the same one."""
    number = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
    return "validation" if number < validation_fraction * 2**64 else "train"


def shuffled(rows: Iterable[T], seed: str) -> list[T]:
    """The rows in an order that follows from a text; shuffle before a cap, so that a larger cap keeps the rows of a
    smaller one.
    """
    rng = random.Random(seed)
    return sorted(rows, key=lambda _: rng.random())


def example_id(split: Split, index: int) -> str:
    """Id of the example at a place in its split, counted from 0."""
    return f"{split}-{index:05d}"
