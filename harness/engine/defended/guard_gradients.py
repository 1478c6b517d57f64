"""Gradients of what guards offer, added to the victim's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.api.problem.problem import Problem
from harness.api.requests import Gradient, GradientAnswer
from harness.api.runtime_defense import GuardDefense, Place, Slope
from harness.engine.defended.model_queries import inquire
from harness.engine.defended.pipeline import Pipeline
from harness.engine.meter import StepMeter
from harness.engine.top_substitutions import best_substitutions
from harness.errors import PluginError


def add_surrogates(
    pipeline: Pipeline,
    requests: Sequence[tuple[Problem, Gradient, StepMeter]],
    answers: Sequence[GradientAnswer],
) -> list[GradientAnswer]:
    """The answers with the penalties of all guards and their gradients added.

    Args:
        answers: the victim's, told in full (every allowed token). Costs go to the meters as defense compute.
    """
    totals = [_in_order(answer, problem) for answer, (problem, _, _) in zip(answers, requests, strict=True)]
    losses = [answer.loss for answer in answers]
    for layer in pipeline.layers:
        guard = layer.defense
        if not isinstance(guard, GuardDefense) or guard.offers != "surrogate":
            continue
        places = [
            Place(p.before, r.tokens, p.after, p.allowed, layer.fitted, layer.same_tokens) for p, r, _ in requests
        ]
        asking = [guard.surrogate(place) for place in places]
        found = inquire(layer.who, asking, {"": pipeline.backend, **layer.models})
        for i, (slope, cost) in enumerate(found):
            if not isinstance(slope, Slope):
                raise PluginError(f"{layer.who}: surrogate() returned {type(slope).__name__}; it must return a Slope")
            requests[i][2].defense += cost
            losses[i] += slope.penalty
            if slope.gradient is not None:
                totals[i] = totals[i] + slope.gradient
    best = []
    for total, loss, (problem, request, _) in zip(totals, losses, requests, strict=True):
        tokens, values = best_substitutions(total, problem.allowed, request.top)
        best.append(GradientAnswer(loss, tokens, values))
    return best


def _in_order(answer: GradientAnswer, problem: Problem) -> np.ndarray:
    """Entries [S, A] in the order of the allowed tokens."""
    total = np.zeros((len(answer.tokens), len(problem.allowed)))
    at = np.searchsorted(problem.allowed, answer.tokens)
    np.put_along_axis(total, at, answer.values, axis=1)
    return total
