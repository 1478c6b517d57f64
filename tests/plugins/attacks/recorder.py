"""What an attack asks and is told, written down on its way through the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.api.problem.problem import Problem
from harness.engine.defended.victim import DefendedVictim


@dataclass(frozen=True)
class Exchange:
    """One request of one example, and its answer."""

    problem: Problem
    request: Any
    answer: Any


class RecordingVictim(DefendedVictim):
    """A defended victim that keeps every exchange, in order."""

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        self.scores: list[Exchange] = []
        self.gradients: list[Exchange] = []

    def score(self, requests: Any) -> Any:
        answers = super().score(requests)
        self.scores += [Exchange(p, r, a) for (p, r, _), a in zip(requests, answers, strict=True)]
        return answers

    def gradient(self, requests: Any) -> Any:
        answers = super().gradient(requests)
        self.gradients += [Exchange(p, r, a) for (p, r, _), a in zip(requests, answers, strict=True)]
        return answers

    def of(self, exchanges: list[Exchange], problem: Problem) -> list[Exchange]:
        """Those of one example: one per step for GCG."""
        return [exchange for exchange in exchanges if exchange.problem.example.id == problem.example.id]
