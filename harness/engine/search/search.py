"""Running an attack: the steps of many examples side by side, their requests answered together.

Every step is judged, metered and journalled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from harness.api.attack import Attack
from harness.api.problem.group import Group
from harness.api.problem.problem import Problem
from harness.api.problem.search_result import SearchResult, StringProgress
from harness.api.problem.state import State
from harness.api.requests import Request
from harness.api.threat import Access
from harness.engine.generators import PluginCall, call_plugin, run_generators
from harness.engine.meter import StepMeter
from harness.engine.search.budget import UNLIMITED, SearchBudget
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.request_checks import check_state
from harness.engine.search.request_kinds import kind_of
from harness.engine.search.router import ModelRouter, PendingRequest
from harness.engine.search.search_round import Round
from harness.engine.search.settings_kept import SettingsGuard
from harness.engine.search.step_outcome import StepOutcome, judge_outcomes
from harness.errors import AccessError, PluginError, RunError
from harness.flops import nominal_forward
from harness.records.journal import Journal
from harness.records.step_row import StepRow
from harness.rng import named_rng

RoundSeen = Callable[[int, list[StepRow]], None]  # called with (number, rows) after each round


@dataclass(frozen=True)
class Search:
    """An attack on a defended victim.

    Attributes:
        models: the victim, and the models that the attack asks besides.
        names: what the randomness depends on besides example and step: (seed, key).
        granted: the threat model's access.
        judge: decides success after each step; None when only the strings are wanted (as in training).
        together: how many examples run side by side at most.
        budget: what the attack may spend per example. A request beyond it is not answered: that step is given up, the
            string that stands is judged, and the search of the example ends.
        limited: what each step runs under; called with what is about to be done.
        note: told once of each setting of the process that plugins change; it is put back before anything is computed.
    """

    models: ModelRouter
    attack: Attack
    names: tuple[str | int, ...]
    granted: Access
    judge: JudgeRunner | None = None
    stop_on_success: bool = False
    together: int = 64
    budget: SearchBudget = UNLIMITED
    limited: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext()
    note: Callable[[str], None] = lambda _: None

    def run(
        self, problems: Sequence[Problem], journal: Journal | None = None, seen: RoundSeen = lambda _number, _rows: None
    ) -> SearchResult:
        """Run all steps of all examples, going on where the journal ends.

        Raises:
            AccessError: a request beyond the access granted.
            PluginError: the attack raised, yielded something that is no request, or returned no state.
            RunError: the journal is damaged.
        """
        self.budget.check(self.models.victim.backend.n_params)
        for role, model in self.models.auxiliary.items():
            self.budget.check(model.backend.n_params, f"model '{role}'")
        settings = SettingsGuard(self.note, self.attack.name)
        with self.limited(f"the start of attack {self.attack.name}"):
            strings = [StringProgress(problem, self._start(problem)) for problem in self._grouped(problems)]
        settings.put_back()
        for string in strings:
            if limit := self._no_room_to_ask(string):
                raise AccessError(
                    f"example {string.problem.example.id}: the threat model's {limit} leaves no room for the answers "
                    "that the attacker has to ask for (`asks`); raise the limit"
                )
        rows = self._resume(strings, journal) if journal else []
        rounds = len(journal.entries) if journal else 0
        if rows:
            seen(rounds, rows)
        self.models.begin([member for string in strings if string.step for member in string.problem.members])
        while active := self._active(strings):
            began = time.monotonic()
            with self.limited(f"a step of attack {self.attack.name} (round {rounds + 1}, {len(active)} side by side)"):
                outcomes = self._step(active, settings)
            count = sum(map(len, outcomes.values()))
            new = self._finish_round(active, outcomes, (time.monotonic() - began) / count)
            rounds += 1
            if journal:
                journal.append(Round.of(active, new).to_json())
            rows += new
            seen(rounds, new)
        order = {problem.example.id: i for i, problem in enumerate(problems)}
        return SearchResult(sorted(rows, key=lambda row: (order[row.example], row.step)), strings)

    def _grouped(self, problems: Sequence[Problem]) -> list[Problem]:
        """Examples that share a string together; those left at the end are a smaller group."""
        size = self.attack.group()
        if size < 1:
            raise PluginError(f"attack {self.attack.name}: group() is {size}; at least 1 example has a string")
        return [Group.of(problems[at : at + size]) for at in range(0, len(problems), size)]

    def _start(self, problem: Problem) -> State:
        where = f"attack {self.attack.name}, example {problem.example.id}, start"
        state = call_plugin(where, self.attack.start, problem, self._rng(problem, 0))
        return check_state(state, self.attack, self.granted, where)

    def _resume(self, strings: Sequence[StringProgress], journal: Journal) -> list[StepRow]:
        """The rows of the rounds that the journal tells of, the strings brought to where these ended."""
        found: list[StepRow] = []
        try:
            for entry in journal.entries:
                done = Round.from_json(entry)
                left = list(done.rows)
                for place, state in done.states.items():
                    string = strings[place]
                    string.state, string.limit = state, done.limits.get(place, "")
                    size = len(string.problem.members)
                    self._finish_step(string, left[:size])
                    left = left[size:]
                if left:
                    raise ValueError("more rows than states")
                found += done.rows
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise RunError(
                f"{journal.path}: damaged: it does not fit this search ({type(error).__name__}: {error}); delete it to "
                "start the search again"
            ) from error
        return found

    def _active(self, strings: Sequence[StringProgress]) -> dict[int, StringProgress]:
        """The strings of the next round, by place: as many as have ``together`` examples, at least one."""
        active: dict[int, StringProgress] = {}
        examples = 0
        for place, string in enumerate(strings):
            if string.done:
                continue
            examples += len(string.problem.members)
            if active and examples > self.together:
                break
            active[place] = string
        return active

    def _step(self, strings: Mapping[int, StringProgress], settings: SettingsGuard) -> dict[int, list[StepOutcome]]:
        """One step of each string; what came of it for each member of its problem."""
        self.models.begin_step()
        meters = {place: self._meters(string) for place, string in strings.items()}

        def answer(requests: dict[int, Any]) -> dict[int, Any]:
            pending: dict[int, PendingRequest] = {}
            for place, yielded in requests.items():
                string = strings[place]
                request = self.models.checked(yielded, string.problem, self._where(string), self.granted)
                string.limit = self._limit(request, string, meters[place])
                if not string.limit:
                    pending[place] = PendingRequest(string.problem, request, meters[place])
            settings.put_back()
            return dict(zip(pending, self.models.answer(list(pending.values())), strict=True))

        returned = run_generators({place: self._step_of(string) for place, string in strings.items()}, answer)
        settings.put_back()
        for place, value in returned.items():
            strings[place].state = check_state(value, self.attack, self.granted, self._where(strings[place]))
        outcomes = {
            place: [
                StepOutcome.of(member, string, meter)
                for member, meter in zip(string.problem.members, meters[place], strict=True)
            ]
            for place, string in strings.items()
        }
        if self.judge is not None:
            judge_outcomes(self.judge, [outcome for own in outcomes.values() for outcome in own])
        settings.put_back()
        return outcomes

    def _finish_round(
        self, strings: Mapping[int, StringProgress], outcomes: Mapping[int, list[StepOutcome]], seconds: float
    ) -> list[StepRow]:
        """The rows of a round."""
        rows: list[StepRow] = []
        for place, string in strings.items():
            own = [outcome.row(seconds) for outcome in outcomes[place]]
            self._finish_step(string, own)
            rows += own
        return rows

    def _finish_step(self, string: StringProgress, rows: Sequence[StepRow]) -> None:
        """Count one more step of a string, and see whether it was the last."""
        string.finish_step(rows)
        broken = all(totals.success for totals in string.totals)
        last = string.step >= self.attack.params.steps
        string.limit = string.limit or ("" if last else self._no_room_to_ask(string))
        string.done = last or bool(string.limit) or (self.stop_on_success and broken)

    def _step_of(self, string: StringProgress) -> PluginCall:
        rng = self._rng(string.problem, string.step + 1)
        return self._where(string), partial(self.attack.step, string.state, string.problem, rng)

    def _where(self, string: StringProgress) -> str:
        return f"attack {self.attack.name}, example {string.problem.example.id}, step {string.step + 1}"

    def _rng(self, problem: Problem, step: int) -> np.random.Generator:
        return named_rng(*self.names, problem.example.id, step)

    def _meters(self, string: StringProgress) -> list[StepMeter]:
        return [StepMeter(names=(*self.names, member.example.id, string.step + 1)) for member in string.problem.members]

    def _asking(self, member: Problem) -> tuple[int, float]:
        """Queries and FLOPs (nominal) that the attacker's own asking for answers to a string takes at most."""
        asks = 0 if self.judge is None else self.judge.asks or 0
        victim = self.models.victim
        tokens = len(member.before) + member.budget + len(member.after) + victim.answer_tokens
        return asks, asks * nominal_forward(victim.backend.n_params, tokens) if asks else 0.0

    def _no_room_to_ask(self, string: StringProgress) -> str:
        """Which limit of the threat model keeps the attacker from asking about another string, or ""."""
        for member, totals in zip(string.problem.members, string.totals, strict=True):
            queries, flops = self._asking(member)
            if queries and (limit := self.budget.why_full(totals.queries + queries, totals.flops.nominal + flops)):
                return limit
        return ""

    def _limit(self, request: Request, string: StringProgress, meters: Sequence[StepMeter]) -> str:
        """Which limit of the threat model keeps the attack from spending this as well, or ""."""
        model = self.models.model(request.model)
        draws = model.draws if kind_of(request).work == "scored" else 1
        for member, totals, meter in zip(string.problem.members, string.totals, meters, strict=True):
            asking = self._asking(member)
            flops = (totals.flops + meter.attack + meter.defense).nominal + asking[1]
            queries = totals.queries + meter.queries + asking[0]
            if limit := self.budget.refusal(request, member, model.backend.n_params, queries, flops, draws):
                return limit
        return ""
