"""What an attack may spend on one example: the threat model's limits, and what a request would cost at most."""

from __future__ import annotations

from dataclasses import dataclass

from harness.api.problem.problem import Problem
from harness.api.requests import Generate, Gradient, Perturb, Request, Sample, Score
from harness.errors import AccessError
from harness.flops import nominal_backward, nominal_forward

QUERIES, FLOPS = "query limit", "FLOP limit"
REASONS = (QUERIES, FLOPS)
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
            queries, flops: spent on this example so far.
            draws: passes through a randomised defense that each candidate's loss is the mean of.
        """
        asked = 0 if request.model else draws * queries_of(request)  # queries are those of the victim
        if self.queries is not None and queries + asked > self.queries:
            return QUERIES
        if self.flops is not None and flops + draws * flops_of(request, problem, n_params) > self.flops:
            return FLOPS
        return ""


UNLIMITED = SearchBudget()


def queries_of(request: Request) -> int:
    """Sequences that a request has answered."""
    if isinstance(request, Score):
        return len(request.candidates)
    if isinstance(request, Gradient | Perturb):
        return 1
    return len(request.strings if isinstance(request, Sample) else request.prompts)


def flops_of(request: Request, problem: Problem, n_params: int | None) -> float:
    """Nominal FLOPs of a request, defenses left out; of answers in text as if each were as long as it may be."""
    around = len(problem.before) + len(problem.after)
    if isinstance(request, Score):
        return nominal_forward(n_params, len(request.candidates) * (around + request.candidates.shape[1]))
    if isinstance(request, Gradient | Perturb):
        tokens = around + len(request.tokens)
        return nominal_forward(n_params, tokens) + nominal_backward(n_params, tokens)
    if isinstance(request, Sample):
        return nominal_forward(n_params, len(request.strings) * (len(problem.before) + request.strings.shape[1]))
    tokens = sum(len(ids) for ids in problem.tokenizer.encode(request.prompts))
    answers = len(request.prompts) * request.max_tokens if isinstance(request, Generate) else 0
    return nominal_forward(n_params, tokens + answers)
