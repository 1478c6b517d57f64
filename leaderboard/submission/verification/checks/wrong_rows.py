"""Kinds of problems that rows may have, each said once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from leaderboard.arrays import Booleans
from leaderboard.submission.verification.checks.rows import SubmittedRows

WrongRows = Iterator[tuple[str, Booleans]]
"""What is wrong, and with which rows, [R]."""


def first_of_each(rows: SubmittedRows, wrong_rows: Iterable[tuple[str, Booleans]]) -> Iterator[str]:
    """Each kind of problem once, with the first row that has it."""
    for problem, wrong in wrong_rows:
        if wrong.any():
            count = int(wrong.sum())
            yield f"{rows.first(wrong)}: {problem}" + (f" ({count} rows)" if count > 1 else "")
