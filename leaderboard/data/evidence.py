"""What is known of the records behind a row: taken as they are, held against rules, or asked again of a victim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.records.read import Cell

NOT_CHECKED, AS_SUBMITTED, VERIFIED = "not checked", "as submitted", "verified"


@dataclass(frozen=True)
class Evidence:
    """What the keeper of a board has found about a cell that was submitted.

    Attributes:
        verified: whether `harness leaderboard verify` was run on it, with its spec.
        asked: whether a replay asked the victim of its row of the standings again.
        strings: how many strings of that row a replay put back, of how many ``recorded``.
        found: in words, of the whole file: with what it was verified, and what could not be told.
    """

    verified: bool = False
    asked: bool = False
    strings: int = 0
    recorded: int = 0
    found: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """In two words or three, for a row."""
        if not self.asked:
            return VERIFIED if self.verified else AS_SUBMITTED
        return f"replayed: {self.strings} of {self.recorded} strings" if self.recorded else "replayed: clean prompts"

    @property
    def share(self) -> float:
        """Of the strings that were put back; below 0 where no victim was asked."""
        return (self.strings / self.recorded if self.recorded else 0.0) if self.asked else self.verified - 2.0


def weakest_evidence(cells: Sequence[Cell]) -> Evidence | None:
    """That of the cell of which the least is known; None where one is of a run directory, which is taken as it is."""
    found = [getattr(cell, "evidence", Evidence()) for cell in cells if cell.checked]
    return min(found, key=lambda evidence: evidence.share) if found and len(found) == len(cells) else None
