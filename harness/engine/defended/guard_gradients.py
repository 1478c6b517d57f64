"""Gradients of what guards add to the loss, added to the victim's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.api.problem.problem import Problem
from harness.api.requests import Gradient, GradientAnswer
from harness.api.runtime_defense import GuardDefense, Place, Slope
from harness.engine.defended.defense_requests import run_defense
from harness.engine.defended.layer import Layer
from harness.engine.defended.pipeline import Pipeline
from harness.engine.meter import StepMeter
from harness.engine.top_substitutions import best_substitutions, full_gradient
from harness.errors import PluginError
from harness.tokens.prompts import chat_of, place_of, plain_tokenizer


def add_guard_gradients(
    pipeline: Pipeline,
    requests: Sequence[tuple[Problem, Gradient, StepMeter]],
    answers: Sequence[GradientAnswer],
) -> list[GradientAnswer]:
    """The answers with the penalties of all guards and their gradients added.

    Args:
        answers: the victim's, told in full (every allowed token). Costs go to the meters as defense compute.

    Raises:
        PluginError: a guard raised, or gave no `Slope`.
    """
    totals = [full_gradient(answer, problem.allowed) for answer, (problem, _, _) in zip(answers, requests, strict=True)]
    losses = [answer.loss for answer in answers]
    for layer in pipeline.layers:
        guard = layer.defense
        if not isinstance(guard, GuardDefense) or guard.offers != "surrogate":
            continue
        seen = [i for i, (problem, _, _) in enumerate(requests) if not problem.conversation.begins_answer]
        places = [_place_of(*requests[i][:2], layer) for i in seen]  # of what begins an answer guards see nothing
        slopes = run_defense(layer.who, guard.surrogate, places, {"": pipeline.backend, **layer.models})
        for i, (slope, cost) in zip(seen, slopes, strict=True):
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


def _place_of(problem: Problem, request: Gradient, layer: Layer) -> Place:
    """The string's place in the text that guards look at: of a chat, the message that it stands in alone."""
    before, after = problem.before, problem.after
    if chat_of(problem.tokenizer) is not None:
        plain = plain_tokenizer(problem.tokenizer)
        around = place_of(plain, problem.before_text, problem.after_text)
        before = np.asarray([*plain.left, *around.before], dtype=np.int64)
        after = np.asarray([*around.after, *plain.right], dtype=np.int64)
    return Place(before, request.tokens, after, problem.allowed, layer.fitted, layer.same_tokens)
