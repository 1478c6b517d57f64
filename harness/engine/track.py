"""Where a search stands, and what it ends with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harness.flops import Flops
from harness.problem import Problem
from harness.state import State

Row = dict[str, Any]  # one row of records.schema.STEPS


@dataclass
class Track:
    """One example on its way through the attack."""

    problem: Problem
    state: State
    step: int = 0  # steps done
    success: bool = False  # so far
    spent: Flops = field(default_factory=Flops)  # attack and defense compute, all steps
    queries: int = 0  # answered, all steps
    ended: str = ""  # which limit of the threat model ended the search, if one did
    done: bool = False


@dataclass(frozen=True)
class SearchResult:
    """What a search ended with.

    Attributes:
        rows: one per example and step, see `records.schema.STEPS`; in order of example, then step.
        tracks: final state of each example, in the order given.
        cost: attack and defense compute of all examples and steps (judging left out).
    """

    rows: list[Row]
    tracks: list[Track]

    @property
    def cost(self) -> Flops:
        return sum((track.spent for track in self.tracks), Flops())
