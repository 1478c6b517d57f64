"""Rows that stand twice, and rows that contradict each other: both make a task look better measured than it is."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

R = TypeVar("R")


class Claim(NamedTuple):
    """What a row says: that this is the answer to that question, e.g. the label of a text.

    Attributes:
        question: rows with equal questions must have equal answers.
        answer: equal too: one row is a copy of the other.
    """

    question: Hashable
    answer: Hashable


@dataclass(frozen=True, slots=True)
class ClaimedRow(Generic[R]):
    """A row, where it stands in its file, and what it claims."""

    row: R
    where: str
    claim: Claim


def contradictions(rows: Iterable[ClaimedRow[R]]) -> dict[Hashable, tuple[ClaimedRow[R], ClaimedRow[R]]]:
    """The questions that rows give different answers to, each with the first two rows that differ."""
    first: dict[Hashable, ClaimedRow[R]] = {}
    found: dict[Hashable, tuple[ClaimedRow[R], ClaimedRow[R]]] = {}
    for row in rows:
        other = first.setdefault(row.claim.question, row)
        if other.claim.answer != row.claim.answer:
            found.setdefault(row.claim.question, (other, row))
    return found


def without_copies(rows: Iterable[ClaimedRow[R]], *, keep_variants: bool) -> list[ClaimedRow[R]]:
    """The rows, of those with one claim the first only.

    Args:
        keep_variants: keep a row with the same claim that differs otherwise, e.g. in a reply to train on.
    """
    seen: set[Hashable] = set()
    kept = []
    for row in rows:
        key: Hashable = (row.claim, row.row) if keep_variants else row.claim
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return kept
