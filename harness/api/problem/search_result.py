"""Where a search stands, and what it ends with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.flops import Flops
from harness.records.step_row import StepRow


@dataclass
class ExampleTotals:
    """What one example has taken so far, over all its steps.

    Attributes:
        flops: of the attack and of what defenses add to it; judging left out.
        queries: sequences that the victim was asked about.
        success: whether any of its steps was one.
    """

    flops: Flops = field(default_factory=Flops)
    queries: int = 0
    success: bool = False

    def add_step(self, row: StepRow) -> None:
        """Count one more step."""
        self.success = self.success or bool(row.success)
        self.flops += Flops(row.attack_nominal + row.defense_nominal, row.attack_executed + row.defense_executed)
        self.queries += row.queries


@dataclass
class StringProgress:
    """How far the search for one attack string has come: that of one example, or of a group that shares it.

    Attributes:
        problem: the example, or the group.
        state: what the attack returned last.
        step: steps done.
        limit: which limit of the threat model ended the search, if one did; else "".
        done: whether no step is to come.
        totals: one per member of the problem.
    """

    problem: Problem
    state: State
    step: int = 0
    limit: str = ""
    done: bool = False
    totals: list[ExampleTotals] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.totals = self.totals or [ExampleTotals() for _ in self.problem.members]

    def finish_step(self, rows: Sequence[StepRow]) -> None:
        """Count one more step: its rows, one per member of the problem."""
        for totals, row in zip(self.totals, rows, strict=True):
            totals.add_step(row)
        self.step = rows[0].step


@dataclass(frozen=True)
class SearchResult:
    """What a search ended with.

    Attributes:
        rows: one per example and step; in order of example, then step.
        strings: how the search for each string ended, in the order of the examples.
    """

    rows: list[StepRow]
    strings: list[StringProgress]

    @property
    def cost(self) -> Flops:
        """Attack and defense compute of all examples and steps (judging left out)."""
        return sum((totals.flops for string in self.strings for totals in string.totals), Flops())

    def ends(self) -> Iterator[tuple[Problem, State]]:
        """Each example with the state that its string ended in."""
        for string in self.strings:
            for member in string.problem.members:
                yield member, string.state
