"""Several examples that share one attack string: a universal string."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from harness.api.problem.problem import Problem
from harness.tokens.tokenizer import Tokens


@dataclass(frozen=True)
class Group(Problem):
    """A problem that stands for several. What is asked of one example alone (`Sample`, `Generate`, `prompt`) is asked
    of the first; a string survives tokenisation when it does so in all of them.

    Attributes:
        shared: the examples, at least one.
    """

    shared: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> Problem:
        """The group of these problems; a single one stands for itself."""
        if len(problems) == 1:
            return problems[0]
        first = problems[0]
        return cls(**{field.name: getattr(first, field.name) for field in fields(Problem)}, shared=tuple(problems))

    @property
    def members(self) -> tuple[Problem, ...]:
        """The problems of all examples that share the string."""
        return self.shared

    def survives(self, candidates: Tokens) -> NDArray[np.bool_]:
        """Whether each string survives tokenisation in every example; shape [K]."""
        alive = self.shared[0].survives(candidates)
        for problem in self.shared[1:]:
            alive[alive] = problem.survives(np.asarray(candidates)[alive])
        return alive

    def attack_texts(self, candidates: Tokens) -> list[str | None]:
        """The text of each string in the first example, None where it does not survive in every one; length K."""
        fits = self.survives(candidates)
        texts = self.shared[0].attack_texts(candidates)
        return [text if fit else None for text, fit in zip(texts, fits, strict=True)]
