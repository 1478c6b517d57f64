"""Where requests arrive: sent on to the victim or to an auxiliary model, those of a kind answered together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.api.model.backend import unsupported_request
from harness.api.problem.problem import Problem
from harness.api.requests import Generate, Gradient, GradientAnswer, Perturb, PerturbAnswer, Request, Sample, Score
from harness.engine.defended.latent import perturb
from harness.engine.defended.victim import DefendedVictim
from harness.engine.meter import StepMeter
from harness.engine.search.validation import ability_of
from harness.errors import PluginError, RunError
from harness.tokens.tokenizer import Floats, Tokens

VICTIM = ""


@dataclass(frozen=True)
class PendingRequest:
    """One request: of which problem, and who pays.

    Attributes:
        meters: one per member of the problem.
    """

    problem: Problem
    request: Request
    meters: Sequence[StepMeter]


@dataclass(frozen=True)
class ModelRouter:
    """The models that can be asked.

    Attributes:
        under_attack: the victim as the attack meets it; None where nobody asks it, when answers are judged again.
        auxiliary: other models by role; what they compute is metered like the victim's, but is no query of the victim.
    """

    under_attack: DefendedVictim | None
    auxiliary: Mapping[str, DefendedVictim] = field(default_factory=dict)

    @property
    def victim(self) -> DefendedVictim:
        """The victim. Raises RunError where none was opened."""
        if self.under_attack is None:
            raise RunError("the victim was asked, and is not open")
        return self.under_attack

    def model(self, role: str) -> DefendedVictim:
        """The model of a role. Raises PluginError where there is none."""
        if role == VICTIM:
            return self.victim
        if role not in self.auxiliary:
            known = ", ".join(self.auxiliary) or "none"
            raise PluginError(f"asked model '{role}', but models() names {known}; return it there as well")
        return self.auxiliary[role]

    def check(self, request: Request) -> None:
        """Check that the model of the request answers such requests.

        Raises:
            PluginError: there is no such model.
            AccessError: it does not.
        """
        model = self.model(request.model)
        if ability_of(request) not in model.abilities:
            raise unsupported_request(ability_of(request), model.abilities)

    def begin(self, known: Sequence[Problem]) -> None:
        """A search begins, or goes on, with these examples."""
        for model in (self.victim, *self.auxiliary.values()):
            model.begin(known)

    def begin_step(self) -> None:
        """A step of a search begins."""
        for model in (self.victim, *self.auxiliary.values()):
            model.begin_step()

    def answer(self, asked: Sequence[PendingRequest]) -> list[Any]:
        """The answers, in order. Requests of a kind to one model are answered together, whichever examples they are of.

        Raises:
            AccessError: a defense that cannot be asked that.
        """
        answers: list[Any] = [None] * len(asked)
        groups: dict[tuple[str, type[Request]], list[int]] = {}
        for i, one in enumerate(asked):
            groups.setdefault((one.request.model, type(one.request)), []).append(i)
        for (role, kind), chosen in groups.items():
            for i, own in zip(chosen, self._ask(self.model(role), kind, [asked[i] for i in chosen]), strict=True):
                answers[i] = own
        return answers

    def _ask(self, model: DefendedVictim, kind: type[Request], asked: Sequence[PendingRequest]) -> list[Any]:
        """Answers of one model to requests of one kind."""
        parts = [_parts(one) for one in asked]
        flat = [part for own in parts for part in own]
        found = _answered(model, kind, flat)
        for (_, request, spent), meter in zip(flat, _payers(asked, parts), strict=True):
            meter.attack += spent.attack
            meter.defense += spent.defense
            meter.queries += 0 if request.model else spent.queries
        answers, at = [], 0
        for one, own in zip(asked, parts, strict=True):
            answers.append(_joined(one, found[at : at + len(own)]))
            at += len(own)
        return answers


Part = tuple[Problem, Any, StepMeter]
"""A request as it goes to a model, with a meter of its own."""


def _parts(one: PendingRequest) -> list[Part]:
    """Once for each example that shares the string, where the request is about the string; else once."""
    request, members = one.request, one.problem.members
    if len(members) == 1 or not isinstance(request, Score | Gradient | Perturb):
        return [(members[0], request, one.meters[0].part())]
    if isinstance(request, Gradient):
        request = replace(request, top=len(one.problem.allowed))  # all, so that they can be added up
    return [(member, request, meter.part()) for member, meter in zip(members, one.meters, strict=True)]


def _payers(asked: Sequence[PendingRequest], parts: Sequence[list[Part]]) -> list[StepMeter]:
    """Whose meter each part goes to."""
    return [meter for one, own in zip(asked, parts, strict=True) for meter, _ in zip(one.meters, own, strict=False)]


def _answered(model: DefendedVictim, kind: type[Request], parts: list[Part]) -> Sequence[Any]:
    if kind is Score:
        return model.score(parts)
    if kind is Gradient:
        return model.gradient(parts)
    if kind is Sample:
        return model.sample(parts)
    if kind is Perturb:
        return perturb(model, parts)
    return model.generate(parts) if kind is Generate else model.classify(parts)


def _joined(one: PendingRequest, answers: Sequence[Any]) -> Any:
    """The answer to a request from those to its parts: the mean over the examples that share a string."""
    if len(answers) == 1:
        return answers[0]
    if isinstance(one.request, Score):
        losses: Floats = np.mean(answers, axis=0)
        return losses
    if isinstance(one.request, Perturb):
        return _mean_perturbation(answers)
    assert isinstance(one.request, Gradient)
    return _mean_gradient(answers, one.problem.allowed, min(one.request.top, len(one.problem.allowed)))


def _mean_gradient(answers: Sequence[GradientAnswer], allowed: Tokens, top: int) -> GradientAnswer:
    """The most promising substitutions by the mean of gradients that are told in full."""
    total = np.zeros((len(answers[0].tokens), len(allowed)))
    for answer in answers:
        at = np.searchsorted(allowed, answer.tokens)
        np.put_along_axis(total, at, np.take_along_axis(total, at, axis=1) + answer.values, axis=1)
    mean = total / len(answers)
    best = np.argsort(mean, axis=1, kind="stable")[:, :top]
    loss = float(np.mean([answer.loss for answer in answers]))
    return GradientAnswer(loss, allowed[best], np.take_along_axis(mean, best, axis=1))


def _mean_perturbation(answers: Sequence[PerturbAnswer]) -> PerturbAnswer:
    """Means of loss and gradient, and the smallest scale, so that the radius is kept to in every example."""
    gradient: Floats = np.mean([answer.gradient for answer in answers], axis=0)
    loss = float(np.mean([answer.loss for answer in answers]))
    return PerturbAnswer(loss, gradient, min(answer.scale for answer in answers))
