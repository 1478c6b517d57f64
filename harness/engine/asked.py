"""Requests as they arrive from an attack: of the right form, or an error that says what is wrong with them."""

from __future__ import annotations

import math
from operator import index

import numpy as np
from numpy.typing import NDArray

from harness.attack import Generate, Gradient, Request, Sample, Score
from harness.engine.backend import Ability
from harness.engine.defended import candidate_array
from harness.problem import Problem
from harness.tokens.text import Tokens

_ABILITIES: dict[type[Request], Ability] = {
    Score: "score",
    Gradient: "gradient",
    Sample: "sample",
    Generate: "generate",
}


def ability_of(request: Request) -> Ability:
    """What a backend must be able to do to answer."""
    return next(ability for kind, ability in _ABILITIES.items() if isinstance(request, kind))


def checked(request: Request, problem: Problem) -> Request:
    """The request with arrays and numbers of the right form; one bad id must not reach the model.

    Raises:
        ValueError, TypeError, OverflowError: what is wrong with it.
    """
    if isinstance(request, Score):
        return Score(_strings(request.candidates, problem), request.near)
    if isinstance(request, Gradient):
        strings = _strings(np.asarray(request.tokens)[None], problem)
        return Gradient(strings[0], _at_least_one(request.top, "Gradient.top"))
    if isinstance(request, Sample):
        return _checked_sample(request, problem)
    return _checked_generate(request)


def _checked_sample(request: Sample, problem: Problem) -> Sample:
    strings = _strings(request.strings, problem, more=1)
    foreign = np.setdiff1d(strings, problem.allowed)
    if len(foreign):
        raise ValueError(f"Sample.strings: token {foreign[0]} is not allowed by the threat model")
    if not len(problem.before) + strings.shape[1] and len(strings):
        raise ValueError("Sample.strings: nothing stands before the next token: the prompt begins with the string")
    top = None if request.top is None else _at_least_one(request.top, "Sample.top")
    return Sample(strings, _at_least_one(request.k, "Sample.k"), index(request.seed), top)


def _checked_generate(request: Generate) -> Generate:
    prompts = request.prompts
    if not isinstance(prompts, tuple | list) or not all(isinstance(prompt, str) for prompt in prompts):
        raise ValueError("Generate.prompts must be a tuple of strings")
    temperature = float(request.temperature)
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise ValueError(f"Generate.temperature must be 0 or above, got {request.temperature}")
    most = _at_least_one(request.max_tokens, "Generate.max_tokens")
    return Generate(tuple(prompts), most, temperature, index(request.seed))


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
