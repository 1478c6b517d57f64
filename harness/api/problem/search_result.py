"""Where a search stands, and what it ends with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.flops import Flops

Row = dict[str, Any]  # one row of records.schema.STEPS


@dataclass
class Spent:
    """What one example has taken so far, attack and defense: compute, and queries of the victim."""

    flops: Flops = field(default_factory=Flops)
    queries: int = 0
    success: bool = False


@dataclass
class Track:
    """One string on its way through the attack: of one example, or of a group that shares it."""

    problem: Problem
    state: State
    step: int = 0  # steps done
    ended: str = ""  # which limit of the threat model ended the search, if one did
    done: bool = False
    spent: list[Spent] = field(default_factory=list)  # per member of the problem

    def __post_init__(self) -> None:
        self.spent = self.spent or [Spent() for _ in self.problem.members]


@dataclass(frozen=True)
class SearchResult:
    """What a search ended with.

    Attributes:
        rows: one per example and step, see `records.schema.STEPS`; in order of example, then step.
        tracks: final state of each string, in the order of the examples.
        cost: attack and defense compute of all examples and steps (judging left out).
    """

    rows: list[Row]
    tracks: list[Track]

    @property
    def cost(self) -> Flops:
        return sum((spent.flops for track in self.tracks for spent in track.spent), Flops())

    def ends(self) -> Iterator[tuple[Problem, State]]:
        """Each example with the state that its string ended in."""
        for track in self.tracks:
            for member in track.problem.members:
                yield member, track.state
