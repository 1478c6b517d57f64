"""Running an attack: the steps of many examples side by side, their requests answered together.

Every step is judged, metered and journalled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from harness.attack import Attack, Generate, Gradient, Request, Sample, Score, Step
from harness.engine.allowance import UNLIMITED, Allowance
from harness.engine.asked import ability_of, checked
from harness.engine.backend import refused
from harness.engine.defended import DefendedVictim
from harness.engine.meter import StepMeter
from harness.engine.track import Row, SearchResult, Track
from harness.errors import AccessError, PluginError, RunError
from harness.flops import Flops
from harness.judge import Judge
from harness.problem import Problem
from harness.records.journal import Journal
from harness.rng import named_rng
from harness.state import State
from harness.threat import Access, allows

RoundSeen = Callable[[int, list[Row]], None]  # called with (round, rows) after each round


@dataclass(frozen=True)
class Search:
    """An attack on a defended victim.

    Attributes:
        names: what the randomness depends on besides example and step: (seed, key).
        granted: the threat model's access.
        judge: decides success after each step; None when only the strings are wanted (as in training).
        together: how many examples run side by side at most.
        allowance: what the attack may spend per example. A request beyond it is not answered: that step is given up,
            the string that stands is judged, and the search of the example ends.
    """

    victim: DefendedVictim
    attack: Attack
    names: tuple[str | int, ...]
    granted: Access
    judge: Judge | None = None
    stop_on_success: bool = False
    together: int = 64
    allowance: Allowance = UNLIMITED

    def run(
        self, problems: Sequence[Problem], journal: Journal | None = None, seen: RoundSeen = lambda _round, _rows: None
    ) -> SearchResult:
        """Run all steps of all examples, going on where the journal ends.

        Raises:
            AccessError: a request beyond the access granted.
            PluginError: the attack raised, yielded something that is no request, or returned no state.
            RunError: the journal is damaged.
        """
        self.allowance.check(self.victim.backend.n_params)
        tracks = [Track(problem, self._start(problem)) for problem in problems]
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
        self.victim.begin([track.problem for track in tracks if track.step])
        while active := [i for i, track in enumerate(tracks) if not track.done][: self.together]:
            began = time.monotonic()
            new = self._round([tracks[i] for i in active])
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
        order = {track.problem.example.id: i for i, track in enumerate(tracks)}
        return SearchResult(sorted(rows, key=lambda row: (order[row["example"]], row["step"])), tracks)

    def _start(self, problem: Problem) -> State:
        where = f"attack {self.attack.name}, example {problem.example.id}, start"
        try:
            state = self.attack.start(problem, self._rng(problem, 0))
        except Exception as error:
            raise PluginError(f"{where}: raised {type(error).__name__}: {error}") from error
        return _plain(state, where)

    def _replay(self, entry: dict[str, Any], tracks: list[Track]) -> list[Row]:
        rows: list[Row] = entry["rows"]
        for (place, state), row in zip(entry["states"].items(), rows, strict=True):
            track = tracks[int(place)]
            track.state = State.from_json(state)
            track.ended = entry["ended"].get(place, "")
            self._advance(track, row)
        return rows

    def _advance(self, track: Track, row: Row) -> None:
        track.step = row["step"]
        track.success = track.success or bool(row["success"])
        track.spent += Flops(
            row["attack_nominal"] + row["defense_nominal"], row["attack_executed"] + row["defense_executed"]
        )
        track.queries += row["queries"]
        last = track.step >= self.attack.params.steps
        track.done = last or bool(track.ended) or (self.stop_on_success and track.success)

    def _rng(self, problem: Problem, step: int) -> np.random.Generator:
        return named_rng(*self.names, problem.example.id, step)

    def _round(self, tracks: list[Track]) -> list[Row]:
        """One step of each track."""
        self.victim.begin_step()
        meters = [StepMeter() for _ in tracks]
        steps = [self.attack.step(t.state, t.problem, self._rng(t.problem, t.step + 1)) for t in tracks]
        answers: list[Any] = [None] * len(tracks)
        waiting = list(range(len(tracks)))
        while waiting:
            asked: list[tuple[int, Request]] = []
            for i in waiting:
                request = self._send(steps[i], answers[i], tracks[i])
                if request is not None and self._affordable(request, tracks[i], meters[i]):
                    asked.append((i, request))
            self._answer(asked, tracks, meters, answers)
            waiting = [i for i, _ in asked]
        rows = [self._row(track, meter) for track, meter in zip(tracks, meters, strict=True)]
        self._judge(tracks, meters, rows)
        for track, row in zip(tracks, rows, strict=True):
            self._advance(track, row)
        return rows

    def _send(self, step: Step, answer: Any, track: Track) -> Request | None:
        """Let one step run on to its next request; None when it has returned, its state then being the track's."""
        where = f"attack {self.attack.name}, example {track.problem.example.id}, step {track.step + 1}"
        try:
            request = step.send(answer)
        except StopIteration as stop:
            track.state = _plain(stop.value, where)
            return None
        except Exception as error:
            raise PluginError(f"{where}: raised {type(error).__name__}: {error}") from error
        if not isinstance(request, Request):
            raise PluginError(
                f"{where}: yielded {type(request).__name__}; a step may yield Score, Gradient, Sample or Generate"
            )
        if not allows(self.granted, request.access):
            raise AccessError(f"{where}: asked for {request.access}, the threat model grants {self.granted}")
        abilities = self.victim.backend.abilities
        if ability_of(request) not in abilities:
            raise AccessError(f"{where}: {refused(ability_of(request), abilities)}")
        try:
            return checked(request, track.problem)
        except (ValueError, TypeError, OverflowError) as error:
            raise PluginError(f"{where}: bad request: {error}") from None

    def _affordable(self, request: Request, track: Track, meter: StepMeter) -> bool:
        """Whether the threat model lets the attack spend this as well; if not, the search of the example ends."""
        spent = track.spent + meter.attack + meter.defense
        queries = track.queries + meter.queries
        size = self.victim.backend.n_params
        track.ended = self.allowance.refusal(request, track.problem, size, queries, spent.nominal)
        return not track.ended

    def _answer(
        self, asked: list[tuple[int, Request]], tracks: list[Track], meters: list[StepMeter], answers: list[Any]
    ) -> None:
        """Answer requests of a kind together, whichever examples they are of."""
        ways: tuple[tuple[type[Request], Callable[..., Sequence[Any]]], ...] = (
            (Score, self.victim.score),
            (Gradient, self.victim.gradient),
            (Sample, self.victim.sample),
            (Generate, self.victim.generate),
        )
        for kind, answer in ways:
            chosen = [(i, request) for i, request in asked if isinstance(request, kind)]
            if chosen:
                found = answer([(tracks[i].problem, request, meters[i]) for i, request in chosen])
                for (i, _), own in zip(chosen, found, strict=True):
                    answers[i] = own

    def _row(self, track: Track, meter: StepMeter) -> Row:
        problem, state = track.problem, track.state
        failure = _within(state, problem)
        text = problem.attack_texts(state.array[None])[0] if failure is None else None
        return {
            "example": problem.example.id,
            "step": track.step + 1,
            "success": False,
            "loss": None,
            "attack_loss": state.loss,
            "attack_text": text,
            "attack_tokens": list(state.tokens),
            "failure": failure or (None if text is not None else "retokenisation"),
            "queries": meter.queries,
            "seconds": 0.0,
        }

    def _judge(self, tracks: list[Track], meters: list[StepMeter], rows: list[Row]) -> None:
        """Ask the victim about each string that keeps to the threat model; fill in verdicts and costs."""
        if self.judge is not None:
            valid = [i for i, row in enumerate(rows) if row["failure"] is None]
            replies = self.victim.ask([tracks[i].problem.prompt(rows[i]["attack_text"]) for i in valid])
            for i, reply in zip(valid, replies, strict=True):
                example = tracks[i].problem.example
                answer = reply.answer(example.proxy_label)
                meters[i].judge += reply.victim
                meters[i].defense += reply.defense
                rows[i]["loss"] = answer.loss
                if reply.too_long:
                    rows[i]["failure"] = "longer than the context"
                elif not answer.blocked:
                    rows[i]["success"] = bool(self.judge.success(example, answer))
        for row, meter in zip(rows, meters, strict=True):
            for purpose in ("attack", "judge", "defense"):
                spent: Flops = getattr(meter, purpose)
                row[f"{purpose}_nominal"], row[f"{purpose}_executed"] = spent.nominal, spent.executed


def _plain(value: Any, where: str) -> State:
    """The state as plain data, so that a stopped run can go on from it; raises PluginError for what is not."""
    if not isinstance(value, State):
        raise PluginError(f"{where}: returned {type(value).__name__}; it must return a State")
    try:
        json.dumps(value.memory)
        loss = None if value.loss is None else float(value.loss)
        return State(tuple(index(token) for token in value.tokens), loss, value.memory)
    except (TypeError, ValueError) as error:
        raise PluginError(
            f"{where}: its State is no plain data ({error}); tokens are integers, memory is what json.dumps takes"
        ) from None


def _within(state: State, problem: Problem) -> str | None:
    """Why a state's string breaks the threat model, or None."""
    if len(state.tokens) > problem.budget:
        return f"{len(state.tokens)} tokens, budget {problem.budget}"
    if not np.isin(state.array, problem.allowed).all():
        return "token not allowed"
    return None
