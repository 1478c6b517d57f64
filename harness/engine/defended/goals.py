"""What a request's loss is of: a label, all labels but one, or a text; and gradients where it is of several labels.

With L = -log of the probability of all labels but one, dL is the sum over these labels t of w(t) · d CE(t), where CE(t)
is the cross-entropy to t and w(t) its share of their probability. So any backend that differentiates the cross-entropy
to a label gives this gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from harness.api.problem.problem import Problem
from harness.api.requests import Gradient, GradientAnswer, Perturb, PerturbAnswer, RelaxedAnswer, RelaxedGradient, Score
from harness.api.task import AnyBut
from harness.engine.top_substitutions import best_substitutions, full_gradient
from harness.tokens.tokenizer import Floats, Target

Aimed = Score | Gradient | Perturb | RelaxedGradient
_Answer = TypeVar("_Answer", PerturbAnswer, RelaxedAnswer)


def goal_of(problem: Problem, request: Aimed) -> int | AnyBut:
    """The label, or all labels but one, that a request's loss is of; `NO_LABEL` where it is of a text."""
    return request.target if isinstance(request.target, int) else problem.example.goal


def target_of(problem: Problem, request: Aimed) -> Target:
    """The label or the ids that a request's loss is of; where it is of several labels, one of them."""
    if isinstance(request.target, str):
        return problem.ids_of_target(request.target)
    return problem.target if request.target is None else request.target


def targets_of(problem: Problem, request: Gradient | Perturb | RelaxedGradient, n_labels: int) -> list[Target]:
    """What is to be differentiated: each label that the loss is of, or the one target."""
    goal = goal_of(problem, request)
    if n_labels and isinstance(goal, AnyBut):
        return [label for label in range(n_labels) if label != goal.label]
    return [target_of(problem, request)]


def joined_gradients(answers: Sequence[GradientAnswer], problem: Problem, top: int) -> GradientAnswer:
    """The gradient of all these labels together, from those of each, told in full."""
    if len(answers) == 1:
        return answers[0]
    loss, weights = _joined([answer.loss for answer in answers])
    whole = sum(w * full_gradient(answer, problem.allowed) for w, answer in zip(weights, answers, strict=True))
    return GradientAnswer(loss, *best_substitutions(np.asarray(whole), problem.allowed, top))


def joined_perturbations(answers: Sequence[_Answer]) -> _Answer:
    """The same of gradients by activations, or by the weights of a relaxed string."""
    if len(answers) == 1:
        return answers[0]
    loss, weights = _joined([answer.loss for answer in answers])
    gradient = sum(w * answer.gradient for w, answer in zip(weights, answers, strict=True))
    joined = replace(answers[0], loss=loss, gradient=np.asarray(gradient))
    if not isinstance(joined, RelaxedAnswer):
        return joined
    told = [answer.wrong for answer in answers if isinstance(answer, RelaxedAnswer) and answer.wrong is not None]
    return replace(joined, wrong=min(told) if len(told) == len(answers) else None)


def _joined(losses: Sequence[float]) -> tuple[float, Floats]:
    """-log of the sum of the probabilities, and the share of each, from -log of each."""
    log_chances = -np.asarray(losses, dtype=np.float64)
    whole = np.logaddexp.reduce(log_chances)
    return float(-whole), np.exp(log_chances - whole)
