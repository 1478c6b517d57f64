"""Answers about a string that several examples share: means over the answers for each of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.api.problem.problem import Problem
from harness.api.requests import Gradient, GradientAnswer, Perturb, PerturbAnswer, RelaxedAnswer, RelaxedGradient, Score
from harness.engine.top_substitutions import best_substitutions, full_gradient
from harness.tokens.tokenizer import Floats


def mean_losses(request: Score, problem: Problem, answers: Sequence[Floats]) -> Floats:
    """Mean losses, [K]."""
    losses: Floats = np.mean(answers, axis=0)
    return losses


def mean_gradient(request: Gradient, problem: Problem, answers: Sequence[GradientAnswer]) -> GradientAnswer:
    """The most promising substitutions by the mean of gradients that are told in full."""
    total = np.zeros((len(answers[0].tokens), len(problem.allowed)))
    for answer in answers:
        total += full_gradient(answer, problem.allowed)
    tokens, values = best_substitutions(total / len(answers), problem.allowed, request.top)
    return GradientAnswer(float(np.mean([answer.loss for answer in answers])), tokens, values)


def mean_perturbation(request: Perturb, problem: Problem, answers: Sequence[PerturbAnswer]) -> PerturbAnswer:
    """Means of loss and gradient, and the smallest scale, so that the radius is kept to in every example."""
    gradient: Floats = np.mean([answer.gradient for answer in answers], axis=0)
    loss = float(np.mean([answer.loss for answer in answers]))
    return PerturbAnswer(loss, gradient, min(answer.scale for answer in answers))


def mean_relaxed(request: RelaxedGradient, problem: Problem, answers: Sequence[RelaxedAnswer]) -> RelaxedAnswer:
    """Means of loss, gradient, and the number of wrong tokens."""
    gradient: Floats = np.mean([answer.gradient for answer in answers], axis=0)
    told = [answer.wrong for answer in answers if answer.wrong is not None]
    wrong = float(np.mean(told)) if len(told) == len(answers) else None
    return RelaxedAnswer(float(np.mean([answer.loss for answer in answers])), gradient, wrong)
