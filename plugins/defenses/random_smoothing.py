"""Randomised smoothing: a vote over copies of the prompt with tokens deleted or replaced at random."""

from __future__ import annotations

from math import floor, log
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

from harness import Case, Certificate, Params, Rewritten, VoteDefense, allowed_tokens, hookimpl


class RandomSmoothing(VoteDefense):
    """Majority vote over copies with random tokens deleted or replaced; certifies how many an attacker may change."""

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
        rate: float = Field(0.1, gt=0, lt=1, description="chance of each token to be chosen, independently")
        alpha: float = Field(0.001, gt=0, lt=1, description="chance, per prompt, that a certified radius is wrong")
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
        kept = self.noised(np.asarray(ids, dtype=np.int64), case.rng, lambda: allowed_tokens(case.tokenizer))
        (text,) = case.tokenizer.decode([kept.tolist()])
        return Rewritten(text, tuple(kept.tolist()))

    def noised(self, ids: Any, rng: np.random.Generator, vocabulary: Any) -> Any:
        """One copy of a row of ids: each is chosen with the same chance, whatever it is and wherever it stands."""
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
        """Certified radius where ``right`` of ``samples`` copies said the true label."""
        return certified_radius(clopper_pearson_lower_bound(right, samples, self.params.alpha), self.params.rate)


def clopper_pearson_lower_bound(successes: int, trials: int, alpha: float) -> float:
    """Clopper–Pearson: with chance 1 - alpha a success is at least so likely (one-sided)."""
    from scipy.stats import beta  # takes seconds to import

    return float(beta.ppf(alpha, successes, trials - successes + 1)) if successes else 0.0


def certified_radius(chance: float, rate: float) -> int:
    """The most tokens r that may be changed while the label still has a majority; -1 without a majority at the start.

    Of r changed tokens all are chosen with chance rate^r; given that, a copy of the changed prompt is distributed as
    one of the clean prompt is, given the same. So the label's chance falls by at most 1 - rate^r, and the majority
    stands while ``chance - (1 - rate^r) > 1/2`` (theorem 6 of arXiv:2302.01757 for two labels or more, threshold 1/2).
    """
    if chance <= 0.5:
        return -1
    if chance >= 1.0:
        chance = np.nextafter(1.0, 0.0)
    found = floor(log(1.5 - chance) / log(rate))
    return found if chance - (1 - rate**found) > 0.5 else found - 1


@hookimpl
def harness_register_defenses(register):
    register(RandomSmoothing)
