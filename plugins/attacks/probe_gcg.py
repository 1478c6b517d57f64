"""GCG with probe sampling: a small draft model scores all candidates, the victim a few of them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt

from harness import Auxiliary, Floats, Score, VictimRef, hookimpl
from plugins.attacks.gcg import GCG

DRAFT = "draft"


class ProbeGCG(GCG):
    """GCG whose candidates a small draft model filters, more strictly the better it agrees with the victim on a random
    probe set.
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
            16, description="the victim scores one in this many candidates at random: the probe set (at least two)"
        )
        reduction: PositiveInt = Field(
            8,
            description="R of the paper: the victim also scores the draft's best, one in so many candidates where the "
            "two do not agree at all and fewer where they do: the filtered set",
        )
        draft: VictimRef | None = Field(
            None,
            description="the draft model, with the victim's tokens; by default the small model of the victim's "
            "family, trained on the same task",
        )

    def models(self) -> dict[str, Auxiliary]:
        return super().models() | {DRAFT: Auxiliary(self.params.draft, sees="task", same_tokens=True)}

    def _losses(self, request: Score, rng: np.random.Generator) -> Generator[Score, Any, Floats]:
        """Losses of the candidates that the victim scores, shape [K]; of the others ``inf``, so that none is taken."""
        candidates = request.candidates
        draft_losses = yield replace(request, model=DRAFT, best=None)  # their order is compared
        losses = np.full(len(candidates), np.inf)
        probe = rng.permutation(len(candidates))[: max(2, len(candidates) // self.params.probe)]
        losses[probe] = yield replace(request, candidates=candidates[probe], best=None)
        alpha = probe_agreement(draft_losses[probe], losses[probe])
        size = filtered_set_size(alpha, len(candidates), self.params.reduction)
        filtered = np.setdiff1d(np.argsort(draft_losses, kind="stable")[:size], probe)  # none is scored twice
        losses[filtered] = yield replace(request, candidates=candidates[filtered])
        return losses


def probe_agreement(draft_losses: Floats, losses: Floats) -> float:
    """Probe agreement α: Spearman's rank correlation ρ of two lists of losses, shape [n] each, as (1 + ρ) / 2; without
    ties the paper's 1 - 3 Σd² / (n (n² - 1)). 0.5 where ρ is undefined (n < 2, or all losses of a list equal).
    """
    a, b = (_centred_ranks(values) for values in (draft_losses, losses))
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return (1 + float(a @ b) / scale) / 2 if scale else 0.5


def filtered_set_size(alpha: float, candidates: int, reduction: int) -> int:
    """How many of the draft's best the victim scores: (1 - α)·B / R rounded down, at least one."""
    return max(1, int((1 - alpha) * candidates / reduction))


def _centred_ranks(values: Floats) -> Floats:
    """Ranks less their mean, equal values sharing one; NaN and infinity rank last together."""
    from scipy.stats import rankdata  # slow to import

    return np.asarray(rankdata(np.where(np.isnan(values), np.inf, values)) - (len(values) + 1) / 2)


@hookimpl
def harness_register_attacks(register):
    register(ProbeGCG)
