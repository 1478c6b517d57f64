"""The defended victim with perturbed activations: what attacks ask of it, and what it says to the harness's judge.

A guard sees the string that carries the perturbation. Behind a transform or a vote there is nothing to perturb: the
tokens of the string need not be there any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.api.model.backend import LatentAnswer, LatentItem, Perturbable, PerturbItem, unsupported_request
from harness.api.problem.latent import Latent
from harness.api.problem.problem import Problem
from harness.api.requests import Perturb, PerturbAnswer
from harness.api.runtime_defense import GuardDefense, TransformDefense, VoteDefense
from harness.engine.defended.pipeline import PromptItem
from harness.engine.defended.victim import DefendedVictim, Reply
from harness.engine.meter import StepMeter
from harness.errors import AccessError
from harness.flops import Flops, nominal_backward, nominal_forward


def perturb(victim: DefendedVictim, requests: Sequence[tuple[Problem, Perturb, StepMeter]]) -> list[PerturbAnswer]:
    """Losses and gradients. A guard has no say in it, as in gradients. Costs go to the meters.

    Raises:
        AccessError: a transform, or a model that runs elsewhere.
    """
    backend, n = _checked(victim), victim.backend.n_params
    items = [PerturbItem(p.before, r.tokens, p.after, p.target, r.layer, r.delta) for p, r, _ in requests]
    results = backend.perturb(items)
    for (problem, request, meter), result in zip(requests, results, strict=True):
        tokens = len(problem.before) + len(request.tokens) + len(problem.after)
        meter.queries += 1
        meter.attack += Flops(nominal_forward(n, tokens) + nominal_backward(n, tokens), result.executed)
    return [result.answer for result in results]


def ask_perturbed(victim: DefendedVictim, cases: Sequence[tuple[Problem, str, Latent]]) -> list[tuple[Reply, bool]]:
    """Answer whole prompts, each tokenised anew, with a perturbation where its string stands.

    Args:
        cases: example, attack string (one that survives tokenisation), perturbation.

    Returns:
        the reply, and whether the perturbation is longer than the problem's radius: then there is none.

    Raises:
        AccessError: as `perturb`.
    """
    backend, tokenizer = _checked(victim), victim.backend.tokenizer
    prompts = [problem.prompt(text) for problem, text, _ in cases]
    open_rows, costs, by = _screened(victim, prompts)
    around = len(tokenizer.left) + len(tokenizer.right)
    lengths = {
        i: around + len(ids)
        for i, ids in zip(open_rows, tokenizer.encode([prompts[i] for i in open_rows]), strict=True)
    }
    longest = 0 if victim.backend.n_labels else victim.answer_tokens
    fits = [i for i in open_rows if lengths[i] <= victim.backend.context - longest]
    found = [(Reply(None, Flops(), cost, blocked_by=at), False) for cost, at in zip(costs, by, strict=True)]
    for i in set(open_rows) - set(fits):
        found[i] = Reply(None, Flops(), costs[i], too_long=True), False
    items = []
    for i in fits:
        problem, _, latent = cases[i]
        at, radius = len(problem.before), problem.radius or 0.0
        items.append(LatentItem(prompts[i], at, latent, problem.target, longest, radius))
    for i, answer in zip(fits, backend.answer_perturbed(items), strict=True):
        tokens = lengths[i] + (answer.said.prompt_tokens + answer.said.new_tokens if answer.said else 0)
        spent = Flops(nominal_forward(victim.backend.n_params, tokens), answer.executed)
        found[i] = _reply(answer, spent, costs[i]), answer.beyond
    return _answers_screened(victim, prompts, found)


def _screened(victim: DefendedVictim, prompts: Sequence[str]) -> tuple[list[int], list[Flops], list[int | None]]:
    """Which prompts no guard of prompts refuses, what each cost, and who refused it."""
    open_rows, costs = list(range(len(prompts))), [Flops() for _ in prompts]
    by: list[int | None] = [None] * len(prompts)
    for at, layer in enumerate(victim.layers):
        if not isinstance(layer.defense, GuardDefense) or layer.defense.reads == "answer":
            continue
        ruled = victim.pipeline.rulings(at, [PromptItem(prompts[i]) for i in open_rows])
        for i, (ruling, cost) in zip(open_rows, ruled, strict=True):
            costs[i] = costs[i] + cost
            by[i] = at if ruling.blocked else None
        open_rows = [i for i in open_rows if by[i] is None]
    return open_rows, costs, by


def _answers_screened(
    victim: DefendedVictim, prompts: Sequence[str], found: list[tuple[Reply, bool]]
) -> list[tuple[Reply, bool]]:
    """The replies, those blocked that a guard of answers refuses."""
    for at in reversed(range(len(victim.layers))):
        guard = victim.layers[at].defense
        if not isinstance(guard, GuardDefense) or guard.reads == "prompt":
            continue
        said = [(i, reply.text) for i, (reply, _) in enumerate(found) if reply.text is not None]
        ruled = victim.pipeline.rulings(at, [PromptItem(prompts[i]) for i, _ in said], [text for _, text in said])
        for (i, _), (ruling, cost) in zip(said, ruled, strict=True):
            reply, beyond = found[i]
            reply = replace(reply, defense=reply.defense + cost)
            if ruling.blocked:
                reply = Reply(None, reply.victim, reply.defense, blocked_by=at)
            found[i] = reply, beyond
    return found


def _reply(answer: LatentAnswer, spent: Flops, defense: Flops) -> Reply:
    if answer.beyond:
        return Reply(None, spent, defense)
    if answer.said is None:
        return Reply(np.asarray(answer.logits), spent, defense)
    return Reply(None, spent, defense, text=answer.said.text, nll=answer.loss)


def _checked(victim: DefendedVictim) -> Perturbable:
    """The backend. Raises AccessError where it cannot be asked this."""
    for layer in victim.layers:
        if isinstance(layer.defense, TransformDefense | VoteDefense):
            raise AccessError(
                f"defense {layer.defense.name}: rewrites the prompt, so there is no place in it to perturb; use an "
                "attack with access 'gradient', 'scores' or 'text'"
            )
    backend = victim.backend
    if "perturb" not in backend.abilities or not isinstance(backend, Perturbable):
        raise unsupported_request("perturb", backend.abilities)
    return backend
