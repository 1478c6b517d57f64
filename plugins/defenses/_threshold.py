"""Thresholds of guards: from which clean prompts, and where among their scores."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from harness import Example, FitJob, Floats

LEAST = 20  # fewer held-out prompts tell too little of a quantile


def clean_prompts(job: FitJob, most: int) -> tuple[Sequence[Example], str]:
    """At most so many clean prompts, and the split they are from: ``held_out`` where there are enough that nothing was
    trained on and no cell is evaluated on; else ``train``.
    """
    if len(job.held_out) >= LEAST:
        return job.held_out[:most], "held_out"
    return job.data.train[:most], "train"


def threshold_of(scores: Sequence[float] | Floats, quantile: float) -> float:
    """The score that is refused above: the ceil((n + 1) · quantile)-th smallest of n, at most the largest.

    A new prompt that is drawn as these were is then refused with chance 1 - quantile at most, whatever the scores'
    distribution (split conformal prediction, Vovk et al. 2005), or 1 / (n + 1) where that is more.
    """
    ranked = np.sort(np.asarray(scores, dtype=np.float64))
    # A quantile such as 0.9 is no exact binary number: 0.9 * 10 must stay 9.
    rank = ceil((len(ranked) + 1) * quantile - 1e-9)
    return float(ranked[min(max(rank, 1), len(ranked)) - 1])
