"""What the share of clean prompts that a victim gets right is called."""

from __future__ import annotations

from typing import Literal

CleanMeasure = Literal["clean accuracy", "refused when clean", "answered when clean"]


def clean_measure(*, labels: bool, benign: bool) -> CleanMeasure:
    """With labels an accuracy; in text what a good victim does with the prompts.

    Args:
        labels: whether the task is answered with labels.
        benign: whether the prompts are ones that a good victim answers.
    """
    if labels:
        return "clean accuracy"
    return "answered when clean" if benign else "refused when clean"
