"""A guard that refuses prompts of high perplexity."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt

from harness import (
    Auxiliary,
    Case,
    DataError,
    FitJob,
    Floats,
    GuardDefense,
    Likelihood,
    LikelihoodGradient,
    Params,
    Place,
    Ruling,
    Slope,
    VictimRef,
    hookimpl,
)
from plugins.defenses._guards.threshold import clean_prompts, conformal_threshold, refusal_penalty

ROLE = "lm"


class PerplexityFilter(GuardDefense):
    """Refuse prompts whose perplexity, as a whole or in its most unlikely window, is above that of nearly all clean
    prompts.
    """

    name = "perplexity_filter"
    paper = "Jain et al. 2023, arXiv:2309.00614 (whole and windowed); Alon and Kamfonas 2023, arXiv:2308.14132"
    offers: ClassVar = "surrogate"

    class Params(Params):
        """Which language model, which window, and where the threshold lies."""

        window: PositiveInt | None = Field(
            10, description="tokens of the window whose mean NLL counts, the worst one of the prompt; null: the whole"
        )
        quantile: float = Field(0.99, gt=0, le=1, description="share of clean prompts that should pass")
        fit_examples: PositiveInt = Field(500, description="clean prompts that the threshold is taken from, at most")
        lm: VictimRef | None = Field(
            None,
            description="causal language model; by default the victim itself if it is one, else the small model of its "
            "family, which then shares its tokens",
        )
        sees: bool = Field(
            True, description="whether the model is trained on the task's prompts first; false: it is used as it is"
        )
        penalty: NonNegativeFloat = Field(
            10.0,
            description="what is added to a refused candidate's loss, and added again per nat above the threshold",
        )

    def models(self) -> dict[str, Auxiliary]:
        return {ROLE: Auxiliary(self.params.lm, sees="text" if self.params.sees else "nothing")}

    def fit(self, job: FitJob) -> dict[str, Any]:
        examples, split = clean_prompts(job, self.params.fit_examples)
        texts = job.seen([example.text for example in examples])
        if not texts:
            raise DataError("perplexity_filter: the task has no clean prompts to take a threshold from")
        scores = [self._worst_window(nll)[0] for nll in job.ask([Likelihood(text, model=ROLE) for text in texts])]
        return {
            "threshold": conformal_threshold(scores, self.params.quantile),
            "median": float(np.median(scores)),
            "prompts": len(scores),
            "split": split,
        }

    def ruling(self, case: Case) -> Any:
        nll = yield Likelihood(case.text, model=ROLE)
        score, _ = self._worst_window(nll)
        excess = score - case.fitted["threshold"]
        return Ruling(excess > 0, refusal_penalty(self.params.penalty, excess), score)

    def surrogate(self, place: Place) -> Any:
        """The penalty and its gradient, by the most unlikely window's mean NLL, [S, A]; zero below the threshold."""
        nll = yield Likelihood(tokens=place.row, model=ROLE)
        score, start = self._worst_window(nll)
        excess = score - place.fitted["threshold"]
        if excess <= 0:
            return Slope(0.0)
        penalty = refusal_penalty(self.params.penalty, excess)
        if not place.same_tokens or len(nll) < len(place.row) - 1:  # other tokens, or a beginning cut off
            return Slope(penalty)
        width = self._width(nll)
        weights = np.zeros(len(nll))
        weights[start : start + width] = self.params.penalty / width
        gradient = yield LikelihoodGradient(place.before, place.tokens, place.after, weights, place.allowed, ROLE)
        return Slope(penalty, gradient)

    def _width(self, nll: Floats) -> int:
        return len(nll) if self.params.window is None else min(self.params.window, len(nll))

    def _worst_window(self, nll: Floats) -> tuple[float, int]:
        """Mean NLL of the most unlikely window, in nats per token, and its first index.

        Args:
            nll: of each token of a prompt after the first, shape [n].
        """
        if not len(nll):
            return 0.0, 0
        width = self._width(nll)
        sums = np.concatenate([[0.0], np.cumsum(nll)])
        means = (sums[width:] - sums[:-width]) / width
        start = int(means.argmax())
        return float(means[start]), start


@hookimpl
def harness_register_defenses(register):
    register(PerplexityFilter)
