"""Requests as they arrive from an attack: of the right form, or an error that says what is wrong with them."""

from __future__ import annotations

import math
from dataclasses import replace
from operator import index

import numpy as np
from numpy.typing import NDArray

from harness.api.model.backend import Ability
from harness.api.problem.problem import Problem
from harness.api.requests import (
    Classify,
    Generate,
    Gradient,
    Perturb,
    Request,
    Sample,
    Score,
)
from harness.errors import AccessError
from harness.tokens.tokenizer import Tokens

_ABILITIES: dict[type[Request], Ability] = {
    Score: "score",
    Gradient: "gradient",
    Sample: "sample",
    Generate: "generate",
    Classify: "classify",
    Perturb: "perturb",
}


def ability_of(request: Request) -> Ability:
    """What a backend must be able to do to answer."""
    return next(ability for kind, ability in _ABILITIES.items() if isinstance(request, kind))


def checked(request: Request, problem: Problem) -> Request:
    """The request with arrays and numbers of the right form; one bad id must not reach the model.

    Raises:
        ValueError, TypeError, OverflowError: what is wrong with it.
        AccessError: a perturbation, where the threat model does not say how long one may be.
    """
    if not isinstance(request.model, str):
        raise ValueError(f"{type(request).__name__}.model is the name of a role, got {request.model!r}")
    if isinstance(request, Score):
        return replace(request, candidates=_strings(request.candidates, problem))
    if isinstance(request, Gradient):
        strings = _strings(np.asarray(request.tokens)[None], problem)
        return replace(request, tokens=strings[0], top=_at_least_one(request.top, "Gradient.top"))
    if isinstance(request, Sample):
        return _checked_sample(request, problem)
    if isinstance(request, Perturb):
        return _checked_perturb(request, problem)
    if isinstance(request, Classify):
        return replace(request, prompts=_prompts(request.prompts, "Classify"))
    return _checked_generate(request)


def _checked_sample(request: Sample, problem: Problem) -> Sample:
    strings = _strings(request.strings, problem, more=1)
    foreign = np.setdiff1d(strings, problem.allowed)
    if len(foreign):
        raise ValueError(f"Sample.strings: token {foreign[0]} is not allowed by the threat model")
    if not len(problem.before) + strings.shape[1] and len(strings):
        raise ValueError("Sample.strings: nothing stands before the next token: the prompt begins with the string")
    top = None if request.top is None else _at_least_one(request.top, "Sample.top")
    k = _at_least_one(request.k, "Sample.k")
    return replace(request, strings=strings, k=k, seed=index(request.seed), top=top)


def _checked_perturb(request: Perturb, problem: Problem) -> Perturb:
    if problem.radius is None and not request.model:
        raise AccessError("asked for a perturbation, and the threat model has no radius; give it access: latent")
    tokens = _strings(np.asarray(request.tokens)[None], problem)[0]
    if not len(tokens):
        raise ValueError("Perturb.tokens: at least one token, whose activations can be perturbed")
    layer = index(request.layer)
    if layer < 0:
        raise ValueError(f"Perturb.layer is 0 for the embeddings or the number of a layer, got {request.layer}")
    if request.delta is None:
        return replace(request, tokens=tokens, layer=layer)
    delta = np.asarray(request.delta, dtype=np.float64)
    if delta.ndim != 2 or len(delta) != len(tokens) or not np.isfinite(delta).all():
        raise ValueError(f"Perturb.delta must be finite, of shape [{len(tokens)}, width], got {list(delta.shape)}")
    return replace(request, tokens=tokens, delta=delta, layer=layer)


def _checked_generate(request: Generate) -> Generate:
    prompts = _prompts(request.prompts, "Generate")
    temperature = float(request.temperature)
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise ValueError(f"Generate.temperature must be 0 or above, got {request.temperature}")
    most = _at_least_one(request.max_tokens, "Generate.max_tokens")
    return replace(request, prompts=prompts, max_tokens=most, temperature=temperature, seed=index(request.seed))


def _prompts(value: object, kind: str) -> tuple[str, ...]:
    if not isinstance(value, tuple | list) or not all(isinstance(prompt, str) for prompt in value):
        raise ValueError(f"{kind}.prompts must be a tuple of strings")
    return tuple(value)


def _strings(value: Tokens, problem: Problem, more: int = 0) -> NDArray[np.int64]:
    """Strings [n, m] that leave room for some more tokens."""
    rows = candidate_array(value)
    if rows.shape[1] + more > problem.budget:
        following = " and the next one" if more else ""
        raise ValueError(f"{rows.shape[1]} tokens per string{following}, the threat model allows {problem.budget}")
    if rows.size and (rows.min() < 0 or rows.max() >= problem.tokenizer.vocabulary):
        raise ValueError(f"token ids must lie in 0..{problem.tokenizer.vocabulary - 1}")
    return rows


def _at_least_one(value: int, name: str) -> int:
    if index(value) < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return index(value)


def candidate_array(value: object) -> NDArray[np.int64]:
    """Candidates as int64 [K, S]; raises TypeError or ValueError on anything else."""
    array = np.asarray(value)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"candidates must be an integer array of shape [K, S], got {array.dtype} {list(array.shape)}")
    return array.astype(np.int64, copy=False)
