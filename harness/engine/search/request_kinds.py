"""The table of requests that attacks and judges may yield: how the engine checks, counts and answers each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from harness.api.model.backend import Ability, unsupported_request
from harness.api.model.mellowmax import Mellowmax
from harness.api.problem.problem import Problem
from harness.api.requests import Classify, Generate, Gradient, Perturb, RelaxedGradient, Request, Sample, Score
from harness.api.task import AnyBut
from harness.engine.defended.prompt_item import prompt_items
from harness.engine.defended.victim import DefendedVictim, Metered
from harness.engine.search.group_means import mean_gradient, mean_losses, mean_perturbation, mean_relaxed
from harness.engine.search.request_checks import (
    check_classify,
    check_generate,
    check_gradient,
    check_perturb,
    check_relaxed,
    check_sample,
    check_score,
)
from harness.errors import PluginError
from harness.flops import nominal_backward, nominal_forward
from harness.tokens.message import Prompt
from harness.tokens.prompts import encode_prompts, plain_tokenizer

Work = Literal["scored", "differentiated", "sampled", "answered"]


@dataclass(frozen=True)
class RequestKind:
    """How the engine treats requests of one type.

    Attributes:
        ability: what a model must be able to do to answer; also the method of `DefendedVictim` that does.
        work: what is done with its sequences: a forward pass, one with a backward pass, one for the next token, or an
            answer to a whole prompt.
        check: the request with arrays and numbers of the right form; raises ValueError, TypeError or OverflowError.
        sequences: how many it has answered.
        tokens: of all of them together, answers left out.
        new_tokens: of each answer in text, at its longest.
        mean: joins the answers for the examples that share a string, [members], into that to the request; None where
            only the first of them is asked.
        member_request: the request as each of these examples is asked it.
    """

    ability: Ability
    work: Work
    check: Callable[[Any, Problem], Request]
    sequences: Callable[[Any], int]
    tokens: Callable[[Any, Problem], int]
    new_tokens: Callable[[Any], int] = lambda request: 0
    mean: Callable[[Any, Problem, Sequence[Any]], Any] | None = None
    member_request: Callable[[Any, Problem], Request] = lambda request, problem: request

    def answer(self, victim: DefendedVictim, requests: Sequence[Metered[Any]]) -> Sequence[Any]:
        """What a victim answers to requests of this type."""
        answers: Sequence[Any] = getattr(victim, self.ability)(requests)
        return answers

    def flops(self, request: Request, problem: Problem, n_params: int | None) -> float:
        """Nominal FLOPs of a request, defenses left out; of answers in text as if each were as long as it may be."""
        tokens = self.tokens(request, problem) + self.sequences(request) * self.new_tokens(request)
        forward = nominal_forward(n_params, tokens)
        return forward + nominal_backward(n_params, tokens) if self.work == "differentiated" else forward


def _around(problem: Problem) -> int:
    return len(problem.before) + len(problem.after)


def passes(request: Request, problem: Problem) -> int:
    """How often a sequence of a request is run: of a gradient of the loss of several labels, once for each."""
    untargeted = isinstance(problem.example.goal, AnyBut) and getattr(request, "target", None) is None
    differentiated = isinstance(request, Gradient | Perturb | RelaxedGradient)
    return max(1, len(problem.labels) - 1) if untargeted and differentiated else 1


def _prompt_tokens(request: Generate | Classify, problem: Problem) -> int:
    asked = [item.asked for item in prompt_items(problem, request, ())]
    if request.model:  # whose tokenizer is not known here
        return sum(len(ids) for ids in plain_tokenizer(problem.tokenizer).encode([_text(prompt) for prompt in asked]))
    return sum(len(ids) for ids in encode_prompts(problem.tokenizer, asked))


def _text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(message.content for message in prompt)


REQUEST_KINDS: dict[type[Request], RequestKind] = {
    Score: RequestKind(
        ability="score",
        work="scored",
        check=check_score,
        sequences=lambda request: len(request.candidates),
        tokens=lambda request, problem: len(request.candidates) * (_around(problem) + request.candidates.shape[1]),
        mean=mean_losses,
        member_request=lambda request, problem: replace(request, best=None),  # the best for one may not be for all
    ),
    Gradient: RequestKind(
        ability="gradient",
        work="differentiated",
        check=check_gradient,
        sequences=lambda request: 1,
        tokens=lambda request, problem: passes(request, problem) * (_around(problem) + len(request.tokens)),
        mean=mean_gradient,
        member_request=lambda request, problem: replace(
            request, top=len(problem.allowed)
        ),  # so that it can be added up
    ),
    Sample: RequestKind(
        ability="sample",
        work="sampled",
        check=check_sample,
        sequences=lambda request: len(request.strings),
        tokens=lambda request, problem: len(request.strings) * (len(problem.before) + request.strings.shape[1]),
    ),
    Generate: RequestKind(
        ability="generate",
        work="answered",
        check=check_generate,
        sequences=lambda request: len(request.prompts),
        tokens=_prompt_tokens,
        new_tokens=lambda request: int(request.max_tokens),
    ),
    Classify: RequestKind(
        ability="classify",
        work="answered",
        check=check_classify,
        sequences=lambda request: len(request.prompts),
        tokens=_prompt_tokens,
    ),
    Perturb: RequestKind(
        ability="perturb",
        work="differentiated",
        check=check_perturb,
        sequences=lambda request: 1,
        tokens=lambda request, problem: passes(request, problem) * (_around(problem) + len(request.tokens)),
        mean=mean_perturbation,
    ),
    RelaxedGradient: RequestKind(
        ability="relaxed",
        work="differentiated",
        check=check_relaxed,
        sequences=lambda request: 1,
        tokens=lambda request, problem: passes(request, problem) * (_around(problem) + len(request.weights)),
        mean=mean_relaxed,
    ),
}


def kind_of(request: object) -> RequestKind:
    """The kind of a request, also of a subclass of ours. Raises PluginError for what is no request."""
    for cls in type(request).__mro__:
        if cls in REQUEST_KINDS:
            return REQUEST_KINDS[cls]
    *names, last = (cls.__name__ for cls in REQUEST_KINDS)
    raise PluginError(f"yielded {type(request).__name__}; a step may yield {', '.join(names)} or {last}")


def check_target(request: Request, n_labels: int) -> Request:
    """The request, whose target, if it names one, is something that a model of so many labels can say.

    Raises:
        ValueError: what is wrong with it.
    """
    target = getattr(request, "target", None)
    name = f"{type(request).__name__}.target"
    if target is None or (isinstance(target, str) and not n_labels and target.strip()):
        return request
    if not n_labels:
        raise ValueError(
            f"{name} is the text that the attacker wants, for a model that answers in text; got {target!r}"
        )
    if isinstance(target, bool) or not isinstance(target, int) or not 0 <= target < n_labels:
        raise ValueError(f"{name} is the index of one of the {n_labels} labels, got {target!r}")
    return request


def check_over(request: Request, n_labels: int, abilities: frozenset[Ability]) -> Request:
    """The request, whose losses, if they are to be something else than means over tokens, a model can put together so.

    Raises:
        ValueError: it names no such thing.
        AccessError: a model that answers in text, and gives means alone.
    """
    over = getattr(request, "over", None)
    if over is not None and not isinstance(over, Mellowmax):
        raise ValueError(f"{type(request).__name__}.over is a Mellowmax or None, got {over!r}")
    if over is not None and not n_labels and "mellowmax" not in abilities:
        raise unsupported_request("mellowmax", abilities)
    return request


def check_request(request: Request, problem: Problem) -> Request:
    """The request with arrays and numbers of the right form; one bad id must not reach the model.

    Raises:
        ValueError, TypeError, OverflowError: what is wrong with it.
        AccessError: a perturbation, where the threat model does not say how long one may be.
    """
    if not isinstance(request.model, str):
        raise ValueError(f"{type(request).__name__}.model is the name of a role, got {request.model!r}")
    return kind_of(request).check(request, problem)
