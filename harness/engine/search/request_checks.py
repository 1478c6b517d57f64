"""What an attack yields and returns: requests and states of the right form, or an error that says what is wrong.

Each check of a request raises ValueError, TypeError or OverflowError.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api.attack import Attack
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import Classify, Generate, Gradient, Perturb, RelaxedGradient, Sample, Score
from harness.api.threat import Access, allows
from harness.errors import AccessError, PluginError
from harness.tokens.message import Message, Prompt
from harness.tokens.tokenizer import Tokens

_ROUNDING = 1e-3  # by which the weights of a position may miss 1, being kept as float32


def check_score(request: Score, problem: Problem) -> Score:
    """Candidates of at most the threat model's tokens, all of them the model's; at least one wanted."""
    best = None if request.best is None else _at_least_one(request.best, "Score.best")
    return replace(request, candidates=_strings(request.candidates, problem), best=best)


def check_gradient(request: Gradient, problem: Problem) -> Gradient:
    """A string likewise, and at least one token wanted per position."""
    strings = _strings(np.asarray(request.tokens)[None], problem)
    return replace(request, tokens=strings[0], top=_at_least_one(request.top, "Gradient.top"))


def check_sample(request: Sample, problem: Problem) -> Sample:
    """Strings that leave room for a token more, of allowed tokens alone."""
    strings = _strings(request.strings, problem, more=1)
    foreign = np.setdiff1d(strings, problem.allowed)
    if len(foreign):
        raise ValueError(f"Sample.strings: token {foreign[0]} is not allowed by the threat model")
    if not len(problem.before) + strings.shape[1] and len(strings):
        raise ValueError("Sample.strings: nothing stands before the next token: the prompt begins with the string")
    top = None if request.top is None else _at_least_one(request.top, "Sample.top")
    k = _at_least_one(request.k, "Sample.k")
    return replace(request, strings=strings, k=k, seed=index(request.seed), top=top)


def check_perturb(request: Perturb, problem: Problem) -> Perturb:
    """A string of at least one token, and a finite perturbation of each. Raises AccessError where there may be none."""
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


def check_relaxed(request: RelaxedGradient, problem: Problem) -> RelaxedGradient:
    """Weights of the allowed tokens at one position or more, each row a mixture; sums are made 1 exactly."""
    weights = np.asarray(request.weights, dtype=np.float64)
    most, allowed = problem.budget, len(problem.allowed)
    if weights.ndim != 2 or not 1 <= len(weights) <= most or weights.shape[1] != allowed:
        raise ValueError(
            f"RelaxedGradient.weights must be of shape [S, {allowed}] with S from 1 to {most}: a weight of each "
            f"allowed token at each position; got {list(weights.shape)}"
        )
    sums = weights.sum(axis=1, keepdims=True)
    if not np.isfinite(weights).all() or weights.min() < 0 or np.abs(sums - 1).max() > _ROUNDING:
        raise ValueError("RelaxedGradient.weights: each row must be a mixture: no weight below 0, and the sum 1")
    return replace(request, weights=weights / sums)


def check_classify(request: Classify, problem: Problem) -> Classify:
    """Prompts that are texts."""
    prompts, data = _prompts(request.prompts, "Classify"), _texts(request.data, "Classify.data")
    return replace(request, prompts=prompts, data=data)


def check_generate(request: Generate, problem: Problem) -> Generate:
    """Prompts that are texts, or conversations of no more turns than may be; at least one token of each answer, and a
    temperature of 0 or above.
    """
    prompts, data = _conversations(request, problem), _texts(request.data, "Generate.data")
    temperature = float(request.temperature)
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise ValueError(f"Generate.temperature must be 0 or above, got {request.temperature}")
    most = _at_least_one(request.max_tokens, "Generate.max_tokens")
    seed = index(request.seed)
    return replace(request, prompts=prompts, max_tokens=most, temperature=temperature, seed=seed, data=data)


def _prompts(value: object, kind: str) -> tuple[str, ...]:
    return _texts(value, f"{kind}.prompts")


def _texts(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, tuple | list) or not all(isinstance(prompt, str) for prompt in value):
        raise ValueError(f"{what} must be a tuple of strings")
    return tuple(value)


def _conversations(request: Generate, problem: Problem) -> tuple[Prompt, ...]:
    """The prompts of a request. Raises AccessError where one has more turns than the threat model allows."""
    if not isinstance(request.prompts, tuple | list):
        raise ValueError("Generate.prompts must be a tuple of strings, or of conversations")
    return tuple(_prompt(prompt, problem, ours=not request.model) for prompt in request.prompts)


def _prompt(prompt: object, problem: Problem, *, ours: bool) -> Prompt:
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, tuple | list) or not prompt or not all(isinstance(one, Message) for one in prompt):
        raise ValueError(
            "Generate.prompts must be a tuple of strings, or of conversations: tuples of Message, at least one"
        )
    turns = 1 + _asked(prompt) - _asked(problem.messages(""))
    if ours and turns > problem.turns:
        raise AccessError(f"asked for turn {turns} of a conversation, the threat model grants {problem.turns}")
    return tuple(prompt)


def _asked(messages: Sequence[Message]) -> int:
    return sum(message.role == "user" for message in messages)


def _strings(value: Tokens, problem: Problem, more: int = 0) -> NDArray[np.int64]:
    """Strings [n, m] that leave room for some more tokens."""
    array = np.asarray(value)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"candidates must be an integer array of shape [K, S], got {array.dtype} {list(array.shape)}")
    rows = array.astype(np.int64, copy=False)
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


def check_state(value: Any, attack: Attack, granted: Access, where: str) -> State:
    """The state as plain data, with a perturbation only where there may be one.

    Args:
        granted: the threat model's access.
        where: for messages.

    Raises:
        PluginError: it is no state, no plain data, or brings a perturbation that the attack did not announce.
        AccessError: it brings one that the threat model does not grant.
    """
    state = _plain(value, where)
    if state.latent is not None and not allows(granted, "latent"):
        raise AccessError(f"{where}: returned a perturbation, the threat model grants {granted}")
    if state.latent is not None and attack.access != "latent":
        raise PluginError(
            f"{where}: returned a perturbation, but its access is {attack.access!r}; write access = 'latent', so that "
            "it is not ranked with text attacks"
        )
    return state


def _plain(value: Any, where: str) -> State:
    if not isinstance(value, State):
        raise PluginError(f"{where}: returned {type(value).__name__}; it must return a State")
    try:
        json.dumps(value.memory)
        loss = None if value.loss is None else float(value.loss)
        if value.latent is not None:
            value.latent.check(len(value.tokens))
        earlier = tuple(value.earlier)
        if not all(isinstance(turn, str) for turn in earlier):
            raise TypeError("earlier turns are texts")
        return State(tuple(index(token) for token in value.tokens), loss, value.memory, value.latent, earlier)
    except (AttributeError, TypeError, ValueError) as error:
        raise PluginError(
            f"{where}: its State is not plain data ({error}); tokens are integers, memory is what json.dumps takes, "
            "latent is what Latent.of makes"
        ) from None
