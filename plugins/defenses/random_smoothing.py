"""Randomised smoothing: a vote over copies of the prompt with tokens deleted or replaced at random."""

from __future__ import annotations

from math import floor, log
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

from harness import Case, Certificate, Params, Rewritten, VoteDefense, allowed_tokens, hookimpl


class RandomSmoothing(VoteDefense):
    """Majority vote over copies with random tokens deleted or replaced; certifies how many tokens may change without
    changing the answer.
    """

    name = "random_smoothing"
    paper = (
        "Huang et al. 2023, RS-Del, arXiv:2302.01757 (deletion, edit distance); Robey et al. 2023, SmoothLLM, "
        "arXiv:2310.03684 (the vote)"
    )

    class Params(Params):
        """How copies are made, and how the certificate is estimated."""

        copies: PositiveInt = Field(9, description="copies that vote; each is a forward of the victim")
        noise: Literal["delete", "substitute"] = Field(
            "delete", description="what happens to a chosen token: deleted, or replaced by a uniformly random one"
        )
        rate: float = Field(0.1, gt=0, lt=1, description="probability of each token to be chosen, independently")
        alpha: float = Field(0.001, gt=0, lt=1, description="probability, per prompt, that a certified radius is wrong")
        certify_samples: PositiveInt = Field(200, description="copies per prompt for the certificate")
        certify_examples: int = Field(32, ge=0, description="clean prompts that are certified; 0: none")

    @property
    def gives_tokens(self) -> bool:
        return True

    def copies(self) -> int:
        return self.params.copies

    def copy(self, case: Case) -> Any:
        yield from ()
        (ids,) = case.tokenizer.encode([case.text])
        kept = self.add_noise(np.asarray(ids, dtype=np.int64), case.rng, lambda: allowed_tokens(case.tokenizer))
        (text,) = case.tokenizer.decode([kept.tolist()])
        return Rewritten(text, tuple(kept.tolist()))

    def add_noise(self, ids: Any, rng: np.random.Generator, vocabulary: Any) -> Any:
        """A noisy copy of a row of ids, shape [≤ n]: each token is chosen independently with probability ``rate``.

        Args:
            ids: shape [n].
            vocabulary: gives the ids that a token may be replaced by.
        """
        chosen = rng.random(len(ids)) < self.params.rate
        if self.params.noise == "delete":
            kept = ids[~chosen]
            return kept if len(kept) else vocabulary()[:1]  # a model needs something to read, the same for all prompts
        return np.where(chosen, rng.choice(vocabulary(), size=len(ids)), ids)

    def certificate(self) -> Certificate | None:
        if not self.params.certify_examples:
            return None
        unit = "tokens inserted, deleted or replaced" if self.params.noise == "delete" else "tokens replaced"
        return Certificate(
            self.params.certify_samples, self.params.certify_examples, self.params.alpha, unit, self.radius
        )

    def radius(self, right: int, samples: int) -> int:
        """Certified radius, in tokens, where ``right`` of ``samples`` copies got the true label."""
        return certified_radius(clopper_pearson_lower_bound(right, samples, self.params.alpha), self.params.rate)


def clopper_pearson_lower_bound(successes: int, trials: int, alpha: float) -> float:
    """One-sided Clopper–Pearson bound: with confidence 1 - alpha the probability of a success is at least this."""
    from scipy.stats import beta  # takes seconds to import

    return float(beta.ppf(alpha, successes, trials - successes + 1)) if successes else 0.0


def certified_radius(probability: float, rate: float) -> int:
    """The most tokens r that may be changed while the label keeps its majority; -1 where it has none at the start.

    All of r changed tokens are chosen with probability rate^r; given that, a copy of the changed prompt is distributed
    as one of the clean prompt is, given the same. So the label's probability falls by at most 1 - rate^r, and the
    majority stands while ``probability - (1 - rate^r) > 1/2`` (theorem 6 of arXiv:2302.01757 for two labels or more,
    threshold 1/2).

    Args:
        probability: of the label among the copies of the clean prompt, or a lower bound.
        rate: with which each token is chosen.
    """
    if probability <= 0.5:
        return -1
    if probability >= 1.0:
        probability = np.nextafter(1.0, 0.0)
    radius = floor(log(1.5 - probability) / log(rate))
    return radius if probability - (1 - rate**radius) > 0.5 else radius - 1


@hookimpl
def harness_register_defenses(register):
    register(RandomSmoothing)
