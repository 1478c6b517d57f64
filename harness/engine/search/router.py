"""Where requests arrive: sent on to the victim or to an auxiliary model, those of a kind answered together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.api.model.backend import unsupported_request
from harness.api.problem.problem import Problem
from harness.api.requests import Request
from harness.api.threat import Access, allows
from harness.engine.defended.victim import DefendedVictim, Metered
from harness.engine.meter import StepMeter
from harness.engine.search.request_kinds import RequestKind, check_over, check_request, check_target, kind_of
from harness.errors import AccessError, PluginError, RunError

VICTIM = ""


@dataclass(frozen=True)
class PendingRequest:
    """One request: of which problem, and whose compute it is.

    Attributes:
        meters: one per member of the problem.
    """

    problem: Problem
    request: Request
    meters: Sequence[StepMeter]

    @property
    def kind(self) -> RequestKind:
        """How requests of its type are treated."""
        return kind_of(self.request)

    def for_members(self) -> list[Metered[Request]]:
        """The request as models are asked it, with meters of its own: once for each example that shares the string,
        where it is about the string; else once.
        """
        kind, members = self.kind, self.problem.members
        if len(members) == 1 or kind.mean is None:
            return [(members[0], self.request, self.meters[0].for_request())]
        request = kind.member_request(self.request, self.problem)
        return [(member, request, meter.for_request()) for member, meter in zip(members, self.meters, strict=True)]

    def settle(self, requests: Sequence[Metered[Request]], answers: Sequence[Any]) -> Any:
        """The answer, from those to `for_members`, whose compute is added to the meters."""
        for meter, (_, _, spent) in zip(self.meters, requests, strict=False):
            queries = spent.queries if self.request.model == VICTIM else 0
            meter.add_cost(queries, spent.attack, spent.defense)
        mean = self.kind.mean
        return answers[0] if mean is None or len(answers) == 1 else mean(self.request, self.problem, answers)


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
            raise RunError("the victim was asked, but is not open")
        return self.under_attack

    def model(self, role: str) -> DefendedVictim:
        """The model of a role. Raises PluginError where there is none."""
        if role == VICTIM:
            return self.victim
        if role not in self.auxiliary:
            known = ", ".join(self.auxiliary) or "none"
            raise PluginError(f"asked model '{role}', but models() names {known}; return it there as well")
        return self.auxiliary[role]

    def checked(self, request: Any, problem: Problem, where: str, granted: Access | None = None) -> Request:
        """What a plugin yielded, as a request of the right form that its model answers.

        Args:
            where: who yielded it, for messages.
            granted: the threat model's access to the victim; None: all.

        Raises:
            PluginError: it is no request, or a bad one, or there is no such model.
            AccessError: beyond the access granted, or the model does not answer such requests.
        """
        try:
            kind = kind_of(request)
            if granted is not None and request.model == VICTIM and not allows(granted, request.access):
                raise AccessError(f"asked for {request.access}, the threat model grants {granted}")
            abilities = self.model(request.model).abilities
            if kind.ability not in abilities:
                raise unsupported_request(kind.ability, abilities)
            backend = self.model(request.model).backend
            checked = check_target(check_request(request, problem), backend.n_labels)
            return check_over(checked, backend.n_labels, abilities)
        except (AccessError, PluginError) as error:
            raise type(error)(f"{where}: {error}") from None
        except (ValueError, TypeError, OverflowError) as error:
            raise PluginError(f"{where}: bad request: {error}") from None

    def begin(self, known: Sequence[Problem]) -> None:
        """A search begins, or goes on, with these examples."""
        for model in (self.victim, *self.auxiliary.values()):
            model.begin(known)

    def begin_step(self) -> None:
        """A step of a search begins."""
        for model in (self.victim, *self.auxiliary.values()):
            model.begin_step()

    def answer(self, pending: Sequence[PendingRequest]) -> list[Any]:
        """The answers, in order. Requests of a kind to one model are answered together, whichever examples they are of.

        Raises:
            AccessError: a defense that cannot be asked that.
        """
        answers: list[Any] = [None] * len(pending)
        groups: dict[tuple[str, str], list[int]] = {}
        for i, one in enumerate(pending):
            groups.setdefault((one.request.model, one.kind.ability), []).append(i)
        for (role, _), places in groups.items():
            requests = {i: pending[i].for_members() for i in places}
            every = [request for own in requests.values() for request in own]
            found = iter(pending[places[0]].kind.answer(self.model(role), every))
            for i, own in requests.items():
                answers[i] = pending[i].settle(own, [next(found) for _ in own])
        return answers
