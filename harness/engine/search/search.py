"""Running an attack: the steps of many examples side by side, their requests answered together.

Every step is judged, metered and journalled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from harness.api.attack import Attack, Step
from harness.api.problem.group import Group
from harness.api.problem.problem import Problem
from harness.api.problem.search_result import Row, SearchResult, Track
from harness.api.problem.state import State
from harness.api.requests import Request, Score
from harness.api.threat import Access, allows
from harness.engine.meter import StepMeter
from harness.engine.search.budget import UNLIMITED, SearchBudget
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.router import ModelRouter, PendingRequest
from harness.engine.search.step_rows import fill_in, first_rows
from harness.engine.search.validation import checked
from harness.errors import AccessError, PluginError, RunError
from harness.flops import Flops
from harness.isolation.process_state import SavedSettings, interpreter_settings, torch_settings
from harness.records.journal import Journal
from harness.rng import named_rng

RoundSeen = Callable[[int, list[Row]], None]  # called with (round, rows) after each round


@dataclass(frozen=True)
class Search:
    """An attack on a defended victim.

    Attributes:
        desk: the victim, and the models that the attack asks besides.
        names: what the randomness depends on besides example and step: (seed, key).
        granted: the threat model's access.
        jury: decides success after each step; None when only the strings are wanted (as in training).
        together: how many examples run side by side at most.
        allowance: what the attack may spend per example. A request beyond it is not answered: that step is given up,
            the string that stands is judged, and the search of the example ends.
        limited: what each step runs under; called with what is about to be done.
        note: told once of each setting of the process that plugins change; it is put back before anything is computed.
    """

    desk: ModelRouter
    attack: Attack
    names: tuple[str | int, ...]
    granted: Access
    jury: JudgeRunner | None = None
    stop_on_success: bool = False
    together: int = 64
    allowance: SearchBudget = UNLIMITED
    limited: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext()
    note: Callable[[str], None] = lambda _: None

    def run(
        self, problems: Sequence[Problem], journal: Journal | None = None, seen: RoundSeen = lambda _round, _rows: None
    ) -> SearchResult:
        """Run all steps of all examples, going on where the journal ends.

        Raises:
            AccessError: a request beyond the access granted.
            PluginError: the attack raised, yielded something that is no request, or returned no state.
            RunError: the journal is damaged.
        """
        self.allowance.check(self.desk.victim.backend.n_params)
        for role, model in self.desk.auxiliary.items():
            self.allowance.check(model.backend.n_params, f"model '{role}'")
        settings = _Settings(self.note, self.attack.name)
        with self.limited(f"the start of attack {self.attack.name}"):
            tracks = [Track(problem, self._start(problem)) for problem in self._grouped(problems)]
        settings.put_back()
        rows: list[Row] = []
        rounds = 0
        for entry in journal.entries if journal else ():
            try:
                rows += self._replay(entry, tracks)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise RunError(
                    f"{journal and journal.path}: damaged: it does not fit this search "
                    f"({type(error).__name__}: {error}); delete it to start the search anew"
                ) from error
            rounds += 1
        if rows:
            seen(rounds, rows)
        self.desk.begin([member for track in tracks if track.step for member in track.problem.members])
        while active := self._active(tracks):
            began = time.monotonic()
            with self.limited(f"a step of attack {self.attack.name} (round {rounds + 1}, {len(active)} side by side)"):
                new = self._round([tracks[i] for i in active], settings)
            seconds = (time.monotonic() - began) / len(new)
            for row in new:
                row["seconds"] = seconds
            rounds += 1
            if journal:
                states = {str(i): tracks[i].state.to_json() for i in active}
                ended = {str(i): tracks[i].ended for i in active if tracks[i].ended}
                journal.append({"rows": new, "states": states, "ended": ended})
            rows += new
            seen(rounds, new)
        order = {problem.example.id: i for i, problem in enumerate(problems)}
        return SearchResult(sorted(rows, key=lambda row: (order[row["example"]], row["step"])), tracks)

    def _grouped(self, problems: Sequence[Problem]) -> list[Problem]:
        """Examples that share a string together; those left at the end are a smaller group."""
        size = self.attack.group()
        if size < 1:
            raise PluginError(f"attack {self.attack.name}: group() is {size}; at least 1 example has a string")
        return [Group.of(problems[at : at + size]) for at in range(0, len(problems), size)]

    def _active(self, tracks: Sequence[Track]) -> list[int]:
        """The strings of the next round: as many as have ``together`` examples, at least one."""
        chosen: list[int] = []
        examples = 0
        for i, track in enumerate(tracks):
            examples += 0 if track.done else len(track.problem.members)
            if chosen and examples > self.together:
                break
            if not track.done:
                chosen.append(i)
        return chosen

    def _start(self, problem: Problem) -> State:
        where = f"attack {self.attack.name}, example {problem.example.id}, start"
        try:
            state = self.attack.start(problem, self._rng(problem, 0))
        except Exception as error:
            raise PluginError(f"{where}: raised {type(error).__name__}: {error}") from error
        return self._state(state, where)

    def _state(self, value: Any, where: str) -> State:
        """The state as plain data, with a perturbation only where there may be one."""
        state = _plain(value, where)
        if state.latent is not None and not allows(self.granted, "latent"):
            raise AccessError(f"{where}: returned a perturbation, the threat model grants {self.granted}")
        if state.latent is not None and self.attack.access != "latent":
            raise PluginError(
                f"{where}: returned a perturbation, but its access is {self.attack.access!r}; write access = 'latent', "
                "so that it is not ranked beside text attacks"
            )
        return state

    def _replay(self, entry: dict[str, Any], tracks: list[Track]) -> list[Row]:
        rows: list[Row] = entry["rows"]
        left = iter(rows)
        for place, state in entry["states"].items():
            track = tracks[int(place)]
            track.state = State.from_json(state)
            track.ended = entry["ended"].get(place, "")
            self._advance(track, [next(left) for _ in track.problem.members])
        if next(left, None) is not None:
            raise ValueError("more rows than states")
        return rows

    def _advance(self, track: Track, rows: Sequence[Row]) -> None:
        for spent, row in zip(track.spent, rows, strict=True):
            spent.success = spent.success or bool(row["success"])
            spent.flops += Flops(
                row["attack_nominal"] + row["defense_nominal"], row["attack_executed"] + row["defense_executed"]
            )
            spent.queries += row["queries"]
        track.step = rows[0]["step"]
        last = track.step >= self.attack.params.steps
        broken = all(spent.success for spent in track.spent)
        track.done = last or bool(track.ended) or (self.stop_on_success and broken)

    def _rng(self, problem: Problem, step: int) -> np.random.Generator:
        return named_rng(*self.names, problem.example.id, step)

    def _meter(self, member: Problem, track: Track) -> StepMeter:
        return StepMeter(names=(*self.names, member.example.id, track.step + 1))

    def _round(self, tracks: list[Track], settings: _Settings) -> list[Row]:
        """One step of each track."""
        self.desk.begin_step()
        meters = [[self._meter(member, track) for member in track.problem.members] for track in tracks]
        steps = [self.attack.step(t.state, t.problem, self._rng(t.problem, t.step + 1)) for t in tracks]
        answers: dict[int, Any] = dict.fromkeys(range(len(tracks)))
        while answers:
            asked: dict[int, PendingRequest] = {}
            for i, answer in answers.items():
                request = self._send(steps[i], answer, tracks[i])
                if request is not None and self._affordable(request, tracks[i], meters[i]):
                    asked[i] = PendingRequest(tracks[i].problem, request, meters[i])
            settings.put_back()
            answers = dict(zip(asked, self.desk.answer(list(asked.values())), strict=True))
        rows = [first_rows(track, own) for track, own in zip(tracks, meters, strict=True)]
        if self.jury is not None:
            fill_in(self.jury, tracks, rows, meters)
        settings.put_back()
        for track, own, spent in zip(tracks, rows, meters, strict=True):
            for row, meter in zip(own, spent, strict=True):
                row.update(meter.columns())
            self._advance(track, own)
        return [row for own in rows for row in own]

    def _send(self, step: Step, answer: Any, track: Track) -> Request | None:
        """Let one step run on to its next request; None when it has returned, its state then being the track's."""
        where = f"attack {self.attack.name}, example {track.problem.example.id}, step {track.step + 1}"
        try:
            request = step.send(answer)
        except StopIteration as stop:
            track.state = self._state(stop.value, where)
            return None
        except Exception as error:
            raise PluginError(f"{where}: raised {type(error).__name__}: {error}") from error
        if not isinstance(request, Request):
            raise PluginError(
                f"{where}: yielded {type(request).__name__}; a step may yield Score, Gradient, Sample, Generate, "
                "Classify or Perturb"
            )
        if not request.model and not allows(self.granted, request.access):
            raise AccessError(f"{where}: asked for {request.access}, the threat model grants {self.granted}")
        try:
            self.desk.check(request)
            return checked(request, track.problem)
        except (AccessError, PluginError) as error:
            raise type(error)(f"{where}: {error}") from None
        except (ValueError, TypeError, OverflowError) as error:
            raise PluginError(f"{where}: bad request: {error}") from None

    def _affordable(self, request: Request, track: Track, meters: Sequence[StepMeter]) -> bool:
        """Whether the threat model lets the attack spend this as well; if not, the search of the string ends."""
        model = self.desk.model(request.model)
        size, draws = model.backend.n_params, model.draws if isinstance(request, Score) else 1
        for member, spent, meter in zip(track.problem.members, track.spent, meters, strict=True):
            flops = spent.flops + meter.attack + meter.defense
            queries = spent.queries + meter.queries
            track.ended = track.ended or self.allowance.refusal(request, member, size, queries, flops.nominal, draws)
        return not track.ended


class _Settings:
    """Keeps what plugins may do to the process out of the numbers."""

    def __init__(self, note: Callable[[str], None], attack: str) -> None:
        self._kept = SavedSettings([*torch_settings(), *interpreter_settings()])
        self._note, self._attack = note, attack
        self._told: set[str] = set()

    def put_back(self) -> None:
        for what in self._kept.put_back():
            if what not in self._told:
                self._told.add(what)
                self._note(f"attack {self._attack}, or who is asked with it, changed {what}; put back after each step")


def _plain(value: Any, where: str) -> State:
    """The state as plain data, so that a stopped run can go on from it; raises PluginError for what is not."""
    if not isinstance(value, State):
        raise PluginError(f"{where}: returned {type(value).__name__}; it must return a State")
    try:
        json.dumps(value.memory)
        loss = None if value.loss is None else float(value.loss)
        if value.latent is not None:
            value.latent.check(len(value.tokens))
        return State(tuple(index(token) for token in value.tokens), loss, value.memory, value.latent)
    except (AttributeError, TypeError, ValueError) as error:
        raise PluginError(
            f"{where}: its State is no plain data ({error}); tokens are integers, memory is what json.dumps takes, "
            "latent is what Latent.of makes"
        ) from None
