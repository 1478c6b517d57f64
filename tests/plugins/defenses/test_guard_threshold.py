"""Thresholds of guards: from clean prompts that nothing was trained on, at a rank that keeps its promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from harness.api.runtime_defense import FitJob
from harness.api.task import Chunk, Edit, Example, TaskData
from plugins.defenses._guards.threshold import MIN_HELD_OUT, clean_prompts, conformal_threshold
from plugins.defenses.guards.activation_detector import ActivationDetector
from plugins.defenses.guards.perplexity_filter import PerplexityFilter


def prompts(split: str, count: int) -> list[Example]:
    return [Example(f"{split}-{i}", (Chunk(f"{split} {i}", Edit.PERTURBABLE),), i % 2, 1 - i % 2) for i in range(count)]


def job(train: int, held_out: int, ask: Any = None) -> FitJob:
    data = TaskData(("a", "b"), prompts("train", train), [])
    return FitJob(
        data,
        0,
        None,
        np.random.default_rng(0),
        list,
        ask,
        held_out=prompts("validation", held_out),  # type: ignore[arg-type]
    )


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_new_prompt_is_refused_no_more_often_than_said(scores: list[float], quantile: float) -> None:
    """One of n + 1 exchangeable scores, each in turn being the new one: the law of split conformal prediction."""
    refused = [
        scores[at] > conformal_threshold(scores[:at] + scores[at + 1 :], quantile)
        for at in range(len(scores))
        if len(scores) > 1
    ]
    if refused:
        assert np.mean(refused) <= max(1 - quantile, 1 / len(scores)) + 1e-9


def test_ranks() -> None:
    scores = np.arange(1.0, 100.0)[::-1]  # 99: the q-quantile is the score 100 q
    assert [conformal_threshold(scores, q) for q in (0.01, 0.5, 0.9, 0.99, 1.0)] == [1, 50, 90, 99, 99]
    assert conformal_threshold([3.0], 0.5) == 3


def test_held_out_prompts_come_first_where_there_are_enough() -> None:
    found, split = clean_prompts(job(50, MIN_HELD_OUT + 9), MIN_HELD_OUT + 5)
    assert (split, [e.id for e in found]) == ("held_out", [f"validation-{i}" for i in range(MIN_HELD_OUT + 5)])
    found, split = clean_prompts(job(50, MIN_HELD_OUT - 1), 30)
    assert (split, [e.id for e in found]) == ("train", [f"train-{i}" for i in range(30)])


def test_a_model_that_knows_its_training_prompts_sets_no_threshold_by_them() -> None:
    """Both guards, before a model to which new prompts look unlike the ones that it was trained on."""

    def look(text: str) -> float:
        split, number = text.split()
        return float(np.random.default_rng(int(number)).normal() + 9 * (split == "validation"))

    def ask(requests: Any) -> list[Any]:
        return [np.full(4, look(request.text)) for request in requests]

    filtered = PerplexityFilter(PerplexityFilter.Params(quantile=0.9))
    known, new = (filtered.fit(job(99, count, ask)) for count in (0, 99))
    assert (known["split"], new["split"]) == ("train", "held_out")
    assert new["threshold"] == pytest.approx(known["threshold"] + 9)
    assert new["threshold"] == sorted(look(f"validation {i}") for i in range(99))[89]

    far = ActivationDetector(ActivationDetector.Params(method="mahalanobis", quantile=0.9, fit_examples=99))
    known, new = (far.fit(job(99, count, ask)) for count in (0, 99))
    assert (known["split"], new["split"]) == ("train", "held_out")
    assert known["detector"] == new["detector"]  # what it is fitted on stays the training split
    assert new["threshold"] > known["threshold"] + 5
