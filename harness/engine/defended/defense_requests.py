"""What defenses ask of models: the requests about many texts answered together, each text paying for its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from harness.api.model.backend import (
    ActivationBackend,
    ActivationItem,
    Backend,
    GenerateItem,
    LikelihoodBackend,
    LikelihoodItem,
    Perturbable,
    PerturbItem,
    class_logits,
    unsupported_request,
)
from harness.api.requests import (
    ActivationGradient,
    Activations,
    Classify,
    DefenseRequest,
    Generate,
    Likelihood,
    LikelihoodGradient,
    LossGradient,
    LossGradientAnswer,
)
from harness.engine.defended.generated_answers import generate_answers
from harness.engine.defended.prompt_item import data_ids
from harness.engine.generators import run_generators
from harness.errors import AccessError, PluginError
from harness.flops import Flops, nominal_backward, nominal_forward
from harness.rng import named_seed
from harness.tokens.message import in_conversation
from harness.tokens.prompts import answer_ids, encode_prompts, plain_tokenizer
from harness.tokens.tokenizer import Tokens

Answers = list[tuple[Any, Flops]]


def run_defense(who: str, method: Callable[..., Any], cases: Sequence[Any], models: Mapping[str, Backend]) -> Answers:
    """Run a method of a defense for many cases, what it asks about them answered together.

    Args:
        who: the defense, for messages.
        method: a generator that yields requests; called with a case.
        models: by role; "" is the victim.

    Returns:
        what it returned for each case, and the compute of what it asked.

    Raises:
        PluginError: it raised, or asked for what it may not.
        AccessError: a model does not answer such requests.
    """
    spent = [Flops() for _ in cases]

    def answer(requests: dict[int, DefenseRequest]) -> dict[int, Any]:
        answers = answer_defense_requests(who, list(requests.values()), models)
        for i, (_, cost) in zip(requests, answers, strict=True):
            spent[i] = spent[i] + cost
        return {i: own for i, (own, _) in zip(requests, answers, strict=True)}

    returned = run_generators({i: (who, partial(method, case)) for i, case in enumerate(cases)}, answer)
    return [(returned[i], cost) for i, cost in enumerate(spent)]


def answer_defense_requests(who: str, requests: Sequence[DefenseRequest], models: Mapping[str, Backend]) -> Answers:
    """Answers in order, with their compute; requests of a kind to one model go together. Raises as `run_defense`."""
    found: Answers = [(None, Flops())] * len(requests)
    groups: dict[tuple[str, type], list[int]] = {}
    for i, request in enumerate(requests):
        if type(request) not in DEFENSE_REQUESTS:
            known = ", ".join(kind.__name__ for kind in DEFENSE_REQUESTS)
            raise PluginError(f"{who}: yielded {type(request).__name__}; a defense may yield {known}")
        groups.setdefault((request.model, type(request)), []).append(i)
    for (role, kind), places in groups.items():
        if role not in models:
            named = ", ".join(repr(name) for name in models if name) or "none"
            raise PluginError(f"{who}: asked model '{role}', but models() names {named}; return it there as well")
        try:
            answers = DEFENSE_REQUESTS[kind].answer(models[role], [requests[i] for i in places])
        except AccessError as error:
            raise AccessError(f"{who}: {error}") from None
        for i, own in zip(places, answers, strict=True):
            found[i] = own
    return found


def _row_of(text: str, tokens: Tokens | None, backend: Backend, room: int | None = None) -> Tokens:
    """The ids that a model reads of a text: of a long one, its end."""
    if tokens is not None:
        return np.asarray(tokens, dtype=np.int64)[-(room or backend.context) :]
    tokenizer = plain_tokenizer(backend.tokenizer)
    left, right = tokenizer.left, tokenizer.right
    ids = tokenizer.encode([text])[0]
    most = (room or backend.context) - len(left) - len(right)
    return np.asarray([*left, *ids[max(0, len(ids) - most) :], *right], dtype=np.int64)


def _generated(backend: Backend, requests: Sequence[Generate]) -> Answers:
    """Lists of texts; None where a prompt leaves no room for an answer, or the model's server refused."""
    if "generate" not in backend.abilities:
        raise unsupported_request("generate", backend.abilities)
    flat = [(i, at, prompt) for i, request in enumerate(requests) for at, prompt in enumerate(request.prompts)]
    lengths = [len(ids) for ids in encode_prompts(backend.tokenizer, [prompt for _, _, prompt in flat])]
    around = len(backend.tokenizer.left) + len(backend.tokenizer.right)
    fits = [one for one, length in zip(flat, lengths, strict=True) if 0 < length + around < backend.context]
    items = []
    for i, at, prompt in fits:
        request = requests[i]
        seed = named_seed("generate", request.seed, at)
        conversation, text = in_conversation(prompt)
        takes_ids = getattr(backend, "takes_ids", True)
        ids = data_ids(backend.tokenizer, text, request.data) if takes_ids else None
        items.append(GenerateItem(text, request.max_tokens, request.temperature, seed, ids, conversation=conversation))
    texts: list[list[str | None]] = [[None] * len(request.prompts) for request in requests]
    costs = [Flops() for _ in requests]
    for (i, at, _), said in zip(fits, generate_answers(backend, items), strict=True):
        texts[i][at] = None if said.state == "refused" else said.text
        tokens = said.prompt_tokens + said.new_tokens
        costs[i] = costs[i] + Flops(nominal_forward(backend.n_params, tokens), said.executed)
    return list(zip(texts, costs, strict=True))


def _classified(backend: Backend, requests: Sequence[Classify]) -> Answers:
    """Logits as `class_logits` gives them; NaN where a prompt is longer than the context, or got no answer."""
    if not backend.n_labels:
        raise unsupported_request("classify", backend.abilities)
    flat = [(i, at) for i, request in enumerate(requests) for at in range(len(request.prompts))]
    around = backend.tokenizer
    encoded = encode_prompts(around, [requests[i].prompts[at] for i, at in flat])
    meant = [data_ids(around, requests[i].prompts[at], requests[i].data) for i, at in flat]
    found = [ids if own is None else own for ids, own in zip(encoded, meant, strict=True)]
    rows = [np.asarray([*around.left, *ids, *around.right], dtype=np.int64) for ids in found]
    fits = [k for k, row in enumerate(rows) if 0 < len(row) <= backend.context]
    logits = [np.full((len(request.prompts), backend.n_labels), np.nan) for request in requests]
    costs = [Flops() for _ in requests]
    answers, executed = backend.classify([rows[k] for k in fits]) if fits else ((), ())
    for k, answer, ran in zip(fits, answers, executed, strict=True):
        i, at = flat[k]
        logits[i][at] = np.nan if np.isneginf(answer).all() else answer
        costs[i] = costs[i] + Flops(nominal_forward(backend.n_params, len(rows[k])), ran)
    return list(zip([class_logits(backend, own) for own in logits], costs, strict=True))


def _likely(backend: Backend) -> LikelihoodBackend:
    if "likelihood" not in backend.abilities or not isinstance(backend, LikelihoodBackend):
        raise unsupported_request("likelihood", backend.abilities)
    return backend


def _active(backend: Backend) -> ActivationBackend:
    if "activations" not in backend.abilities or not isinstance(backend, ActivationBackend):
        raise unsupported_request("activations", backend.abilities)
    return backend


def _likelihoods(backend: Backend, requests: Sequence[Likelihood]) -> Answers:
    rows = [_row_of(request.text, request.tokens, backend) for request in requests]
    answers = _likely(backend).likelihood([LikelihoodItem(row) for row in rows])
    return [
        (answer.nll, Flops(nominal_forward(backend.n_params, len(row)), answer.executed))
        for row, answer in zip(rows, answers, strict=True)
    ]


def _likelihood_gradients(backend: Backend, requests: Sequence[LikelihoodGradient]) -> Answers:
    items = []
    for r in requests:
        row, span = _row_and_span(r)
        items.append(LikelihoodItem(row, np.asarray(r.weights, dtype=np.float64), span, r.allowed))
    answers = _likely(backend).likelihood(items)
    return [
        (answer.gradient, _both_ways(backend, len(item.row), answer.executed))
        for item, answer in zip(items, answers, strict=True)
    ]


def _activations(backend: Backend, requests: Sequence[Activations]) -> Answers:
    rows = [_row_of(request.text, request.tokens, backend) for request in requests]
    items = [ActivationItem(row, r.layer, r.pool) for row, r in zip(rows, requests, strict=True)]
    answers = _active(backend).activations(items)
    return [
        (answer.values, Flops(nominal_forward(backend.n_params, len(row)), answer.executed))
        for row, answer in zip(rows, answers, strict=True)
    ]


def _activation_gradients(backend: Backend, requests: Sequence[ActivationGradient]) -> Answers:
    items = []
    for r in requests:
        row, span = _row_and_span(r)
        items.append(ActivationItem(row, r.layer, r.pool, np.asarray(r.direction), span, r.allowed))
    answers = _active(backend).activations(items)
    return [
        (answer.gradient, _both_ways(backend, len(item.row), answer.executed))
        for item, answer in zip(items, answers, strict=True)
    ]


def _loss_gradients(backend: Backend, requests: Sequence[LossGradient]) -> Answers:
    """By a perturbation of all tokens of the prompt: a bias adds the same to each, so its gradient is their sum."""
    if "perturb" not in backend.abilities or not isinstance(backend, Perturbable):
        raise unsupported_request("perturb", backend.abilities)
    around, empty = backend.tokenizer, np.empty(0, dtype=np.int64)
    items: dict[int, PerturbItem] = {}
    encoded = encode_prompts(around, [request.prompt for request in requests])
    for i, (request, ids) in enumerate(zip(requests, encoded, strict=True)):
        row = np.asarray([*around.left, *ids, *around.right], dtype=np.int64)
        target = answer_ids(around, request.target) if isinstance(request.target, str) else request.target
        answer = len(target) - 1 if isinstance(target, tuple) else 0
        if 0 < len(row) <= backend.context - answer:
            items[i] = PerturbItem(empty, row, empty, target, request.layer)
    found: Answers = [(None, Flops())] * len(requests)
    for (i, item), said in zip(items.items(), backend.perturb(list(items.values())), strict=True):
        told = LossGradientAnswer(said.answer.loss, np.asarray(said.answer.gradient).sum(0))
        found[i] = (told, _both_ways(backend, len(item.tokens), said.executed))
    return found


def _row_and_span(request: LikelihoodGradient | ActivationGradient) -> tuple[Tokens, tuple[int, int]]:
    """The whole row, and where in it what is differentiated by begins and ends."""
    start = len(request.before)
    return np.concatenate([request.before, request.tokens, request.after]), (start, start + len(request.tokens))


def _both_ways(backend: Backend, tokens: int, executed: float) -> Flops:
    return Flops(nominal_forward(backend.n_params, tokens) + nominal_backward(backend.n_params, tokens), executed)


@dataclass(frozen=True)
class DefenseRequestKind:
    """How the engine treats one type of request of a defense.

    Attributes:
        answer: has a model answer requests of this type.
        texts: how many texts it is about.
        new_tokens: tokens of each answer in text, at its longest.
        passes: how often a text goes through the model, a backward pass counting for two.
    """

    answer: Callable[[Backend, Any], Answers]
    texts: Callable[[Any], int] = lambda request: 1
    new_tokens: Callable[[Any], int] = lambda request: 0
    passes: int = 1


DEFENSE_REQUESTS = {
    Generate: DefenseRequestKind(_generated, lambda r: len(r.prompts), lambda r: r.max_tokens),
    Classify: DefenseRequestKind(_classified, lambda r: len(r.prompts)),
    Likelihood: DefenseRequestKind(_likelihoods),
    LikelihoodGradient: DefenseRequestKind(_likelihood_gradients, passes=3),
    Activations: DefenseRequestKind(_activations),
    ActivationGradient: DefenseRequestKind(_activation_gradients, passes=3),
    LossGradient: DefenseRequestKind(_loss_gradients, passes=3),
}
"""The requests that a defense may yield."""
