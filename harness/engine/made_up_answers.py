"""Answers of the right form that no model gave: a plugin's requests can then be counted without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.api.problem.problem import Problem
from harness.api.requests import (
    ActivationGradient,
    Activations,
    Classify,
    Generate,
    Gradient,
    GradientAnswer,
    Likelihood,
    LikelihoodGradient,
    LossGradient,
    LossGradientAnswer,
    Perturb,
    PerturbAnswer,
    RelaxedAnswer,
    RelaxedGradient,
    Sample,
    SampleAnswer,
    Score,
)
from harness.engine.sampling import draw

_CLASSES = 2
_WIDTH = 8  # of activations


def made_up_answer(request: Any, problem: Problem, rng: np.random.Generator) -> Any:
    """An answer to a request of an attack, a judge or a defense; every token is taken to be allowed.

    Raises:
        LookupError: it is no request.
    """
    return next(_MADE_UP[cls] for cls in type(request).__mro__ if cls in _MADE_UP)(request, problem, rng)


def _gradient(request: Gradient, problem: Problem, rng: np.random.Generator) -> GradientAnswer:
    vocabulary = problem.tokenizer.vocabulary
    tokens = np.stack([rng.permutation(vocabulary)[: request.top] for _ in request.tokens])
    return GradientAnswer(float(rng.random()), tokens, np.sort(-rng.random(tokens.shape), axis=1))


def _perturbation(request: Perturb, problem: Problem, rng: np.random.Generator) -> PerturbAnswer:
    width = _WIDTH if request.delta is None else np.shape(request.delta)[1]
    return PerturbAnswer(float(rng.random()), rng.normal(size=(len(request.tokens), width)), 1.0)


def _relaxed(request: RelaxedGradient, problem: Problem, rng: np.random.Generator) -> RelaxedAnswer:
    return RelaxedAnswer(float(rng.random()), rng.normal(size=np.shape(request.weights)), 1.0)


def _samples(request: Sample, problem: Problem, rng: np.random.Generator) -> SampleAnswer:
    chances = rng.dirichlet(np.ones(problem.tokenizer.vocabulary), len(request.strings))
    return draw(np.log(np.maximum(chances, 1e-300)), problem.allowed, request.k, request.seed, request.top)


def _texts(request: Generate, problem: Problem, rng: np.random.Generator) -> list[str]:
    shape = (len(request.prompts), min(request.max_tokens, problem.budget))
    return problem.tokenizer.decode(rng.integers(problem.tokenizer.vocabulary, size=shape).tolist())


_MADE_UP: dict[type, Callable[[Any, Problem, np.random.Generator], Any]] = {
    Score: lambda request, problem, rng: rng.random(len(request.candidates)),
    Gradient: _gradient,
    Perturb: _perturbation,
    RelaxedGradient: _relaxed,
    Sample: _samples,
    Generate: _texts,
    Classify: lambda request, problem, rng: rng.normal(size=(len(request.prompts), _CLASSES)),
    Likelihood: lambda request, problem, rng: np.ones(_WIDTH),
    Activations: lambda request, problem, rng: np.ones(_WIDTH),
    LikelihoodGradient: lambda request, problem, rng: np.zeros((len(request.tokens), len(request.allowed))),
    ActivationGradient: lambda request, problem, rng: np.zeros((len(request.tokens), len(request.allowed))),
    LossGradient: lambda request, problem, rng: LossGradientAnswer(1.0, np.ones(_WIDTH)),
}
