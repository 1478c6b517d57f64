"""GCG with probe sampling: a small draft model looks at all candidates, the victim at the few that matter."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt

from harness import Auxiliary, Floats, Problem, Score, State, Step, VictimRef, hookimpl
from plugins.attacks.gcg import GCG

DRAFT = "draft"


class ProbeGCG(GCG):
    """GCG whose candidates are filtered by a draft model, the more strictly the better it agrees with the victim on a
    random probe set.
    """

    name = "probe_gcg"
    paper = (
        "Zhao et al. 2024, 'Accelerating Greedy Coordinate Gradient and General Prompt Optimization via Probe "
        "Sampling', arXiv 2403.01251; all else as in gcg"
    )

    class Params(GCG.Params):
        candidates: PositiveInt = Field(
            128, description="substitutions that the draft scores per step (B of the paper, 512 there)"
        )
        probe: PositiveInt = Field(
            16, description="the victim scores one candidate in so many at random: the probe set (at least two)"
        )
        reduction: PositiveInt = Field(
            8,
            description="and, were there no agreement at all, one in so many of the draft's best: the filtered set (R "
            "of the paper)",
        )
        draft: VictimRef | None = Field(
            None,
            description="the draft model, with the victim's tokens; when left out, the small model of the victim's "
            "family, made ready with the same task",
        )

    def models(self) -> dict[str, Auxiliary]:
        return super().models() | {DRAFT: Auxiliary(self.params.draft, sees="task", same_tokens=True)}

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        plain, answer = super().step(state, problem, rng), None
        while True:
            try:
                request = plain.send(answer)
            except StopIteration as stop:
                after: State = stop.value
                return after
            answer = (yield from self._probed(request, rng)) if isinstance(request, Score) else (yield request)

    def _probed(self, asked: Score, rng: np.random.Generator) -> Generator[Score, Any, Floats]:
        """Losses of the candidates that the victim is asked about; of the others ``inf``, so that none is taken."""
        rows, near = asked.candidates, asked.near
        drafted = yield Score(rows, near, DRAFT)
        losses = np.full(len(rows), np.inf)
        probe = rng.permutation(len(rows))[: max(2, len(rows) // self.params.probe)]
        losses[probe] = yield Score(rows[probe], near)
        size = filtered_size(agreement(drafted[probe], losses[probe]), len(rows), self.params.reduction)
        filtered = np.setdiff1d(np.argsort(drafted, kind="stable")[:size], probe)  # none is asked about twice
        losses[filtered] = yield Score(rows[filtered], near)
        return losses


def agreement(drafted: Floats, losses: Floats) -> float:
    """Probe agreement α: Spearman's rank correlation of two lists of losses, moved to [0, 1]; without ties the paper's
    1 - 3 Σd² / (n (n² - 1)). 0.5 where there is no such thing (fewer than two losses, or all of them equal).
    """
    a, b = (_ranks(values) for values in (drafted, losses))
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return (1 + float(a @ b) / scale) / 2 if scale else 0.5


def filtered_size(alpha: float, candidates: int, reduction: int) -> int:
    """How many of the draft's best the victim scores: (1 - α)·B / R rounded down, at least one."""
    return max(1, int((1 - alpha) * candidates / reduction))


def _ranks(values: Floats) -> Floats:
    """Ranks about their mean, equal values sharing one; what is no number comes last."""
    _, place, counts = np.unique(np.where(np.isnan(values), np.inf, values), return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts + 1) / 2)[place] - (len(place) - 1) / 2
    return ranks


@hookimpl
def harness_register_attacks(register):
    register(ProbeGCG)
