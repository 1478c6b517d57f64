"""What an attack may spend on one example: the threat model's limits."""

from __future__ import annotations

from dataclasses import dataclass

from harness.api.problem.problem import Problem
from harness.api.requests import Request
from harness.engine.search.request_kinds import kind_of, passes
from harness.errors import AccessError

QUERIES, FLOPS = "query limit", "FLOP limit"
"""Why the search of an example ends before its steps do."""


@dataclass(frozen=True, slots=True)
class SearchBudget:
    """Limits per example; None where there is none.

    Attributes:
        queries: sequences scored, differentiated, continued or answered.
        flops: nominal, the attack's own requests and what defenses add to them.
    """

    queries: int | None = None
    flops: float | None = None

    def check(self, n_params: int | None, whose: str = "this victim") -> None:
        """Raise AccessError where a limit cannot be kept because the size of a model is unknown."""
        if self.flops is not None and n_params is None:
            raise AccessError(
                f"the threat model limits FLOPs, and {whose}'s compute is unknown; limit `queries` instead, or "
                "state its n_params"
            )

    def refusal(
        self, request: Request, problem: Problem, n_params: int | None, queries: int, flops: float, draws: int = 1
    ) -> str:
        """Why a request may not be answered, or "".

        Args:
            queries, flops: spent on this example so far, or set aside.
            draws: passes through a randomised defense that each candidate's loss is the mean of.
        """
        kind = kind_of(request)
        sequences = kind.sequences(request) * passes(request, problem)
        more = 0 if request.model else draws * sequences  # queries are those of the victim
        if self.queries is not None and queries + more > self.queries:
            return QUERIES
        if self.flops is not None and flops + draws * kind.flops(request, problem, n_params) > self.flops:
            return FLOPS
        return ""

    def why_full(self, queries: int, flops: float) -> str:
        """Which limit so much is beyond, or ""."""
        if self.queries is not None and queries > self.queries:
            return QUERIES
        return FLOPS if self.flops is not None and flops > self.flops else ""


UNLIMITED = SearchBudget()
