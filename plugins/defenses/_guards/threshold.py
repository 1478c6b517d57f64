"""Thresholds of guards: which clean prompts they are taken from, at which rank, and the penalty above them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from harness import Example, FitJob, Floats

MIN_HELD_OUT = 20  # fewer held-out prompts say too little about a quantile


def clean_prompts(job: FitJob, count: int) -> tuple[Sequence[Example], str]:
    """At most ``count`` clean prompts, and the split that they are from: ``held_out``, where there are enough prompts
    that no model was trained on and no cell is evaluated on; else ``train``.
    """
    if len(job.held_out) >= MIN_HELD_OUT:
        return job.held_out[:count], "held_out"
    return job.data.train[:count], "train"


def conformal_threshold(scores: Sequence[float] | Floats, quantile: float) -> float:
    """The score above which a guard refuses: the ceil((n + 1) · quantile)-th smallest of n, at most the largest.

    A new prompt from the same distribution is then refused with probability at most 1 - quantile, whatever the
    distribution (split conformal prediction, Vovk et al. 2005), or 1 / (n + 1) where that is more.
    """
    ranked = np.sort(np.asarray(scores, dtype=np.float64))
    # A quantile such as 0.9 is no exact binary number: 0.9 * 10 must stay 9.
    rank = ceil((len(ranked) + 1) * quantile - 1e-9)
    return float(ranked[min(max(rank, 1), len(ranked)) - 1])


def refusal_penalty(base: float, excess: float) -> float:
    """What the loss of a refused candidate is raised by, in nats: ``base``, and once more ``base`` per unit of
    ``excess`` above the threshold. ``inf``, no loss at all, where ``base`` is 0.
    """
    return float(base * (1 + max(0.0, excess))) if base else float("inf")


def log_odds(probability: float) -> float:
    """The logarithm of p / (1 - p), finite for 0 and 1 as well."""
    clipped = min(max(probability, 1e-12), 1 - 1e-12)
    return float(np.log(clipped) - np.log1p(-clipped))
