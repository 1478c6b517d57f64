"""The rows of a step: what stands after it, and what the victim and the judge make of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.api.judge import Answer, Verdict
from harness.api.problem.latent import Latent
from harness.api.problem.problem import Problem
from harness.api.problem.search_result import Row, Track
from harness.api.problem.state import State
from harness.engine.defended.latent import ask_perturbed
from harness.engine.defended.reply import Reply
from harness.engine.meter import StepMeter
from harness.engine.search.judging import JudgeRunner
from harness.records.schema import STEPS

BEYOND = "perturbation beyond the radius"


def first_rows(track: Track, meters: Sequence[StepMeter]) -> list[Row]:
    """A row per example that shares the string, before anybody was asked about it."""
    state = track.state
    rows = []
    for problem, meter in zip(track.problem.members, meters, strict=True):
        failure = _breach(state, problem)
        text = problem.attack_texts(state.array[None])[0] if failure is None else None
        row: dict[str, Any] = dict.fromkeys(STEPS.names)
        row |= {
            "example": problem.example.id,
            "step": track.step + 1,
            "success": False,
            "attack_loss": state.loss,
            "attack_text": text,
            "attack_tokens": list(state.tokens),
            "failure": failure or (None if text is not None else "retokenisation"),
            "queries": meter.queries,
            "seconds": 0.0,
        }
        rows.append(row)
    return rows


def fill_in(
    jury: JudgeRunner, tracks: Sequence[Track], rows: Sequence[list[Row]], meters: Sequence[Sequence[StepMeter]]
) -> None:
    """Ask the victim about each string that keeps to the threat model, and the judge about each answer; fill in what
    they say, and add what it costs to the meters.

    A randomised victim is asked several times, with draws that no attack has seen: a success is more than half of them.
    """
    valid = [
        _Case(problem, row, meter, track.state.latent)
        for track, own, spent in zip(tracks, rows, meters, strict=True)
        for problem, row, meter in zip(track.problem.members, own, spent, strict=True)
        if row["failure"] is None
    ]
    for case, replies in zip(valid, _replies(jury, valid), strict=True):
        for reply, beyond in replies:
            case.meter.judge += reply.victim
            case.meter.defense += reply.defense
            if beyond:
                case.row["failure"] = BEYOND
            elif reply.too_long:
                case.row["failure"] = "longer than the context"
        if case.row["failure"] != BEYOND:
            case.answers = [reply.answer(case.problem.example.proxy_label) for reply, _ in replies]
    asked = [(case, answer) for case in valid if case.row["failure"] is None for answer in case.answers]
    verdicts = jury.verdicts([(case.problem.example, answer) for case, answer in asked])
    for (case, _), (verdict, cost) in zip(asked, verdicts, strict=True):
        case.verdicts.append(verdict)
        case.meter.judge += cost
    for case in valid:
        case.fill_in()


@dataclass
class _Case:
    """A string, what the victim says to it, and what the judge makes of that; one answer and verdict per draw."""

    problem: Problem
    row: Row
    meter: StepMeter
    latent: Latent | None
    answers: list[Answer] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def fill_in(self) -> None:
        """Write the row's columns."""
        if not self.answers:
            return
        row = self.row
        open_ones = [answer for answer in self.answers if not answer.blocked]
        losses = [answer.loss for answer in open_ones if not math.isnan(answer.loss)]
        row["loss"] = float(np.mean(losses)) if losses else (None if open_ones else float("inf"))
        said = [(answer.label, answer.text) for answer in self.answers]
        if self.verdicts:
            broken = [verdict.success for verdict in self.verdicts]
            row["draws"], row["broken_draws"] = len(broken), sum(broken)
            row["success"] = 2 * sum(broken) > len(broken)
            row["unparseable"] = any(v.unparseable for v in self.verdicts) and not row["success"]
            scores = [verdict.score for verdict in self.verdicts if verdict.score is not None]
            row["score"] = float(np.mean(scores)) if scores else None
            said = [one for one, won in zip(said, broken, strict=True) if won == row["success"]] or said
        row["predicted"], row["answer"] = Counter(said).most_common(1)[0][0]


def _replies(jury: JudgeRunner, cases: Sequence[_Case]) -> list[list[tuple[Reply, bool]]]:
    """What the victim says to each string, once per draw, and whether its perturbation is beyond the radius."""
    victim = jury.desk.victim
    draws = jury.draws if victim.randomised else 1
    plain = [(case, draw) for case in cases if case.latent is None for draw in range(draws)]
    said = iter(
        victim.ask(
            [case.problem.prompt(case.row["attack_text"]) for case, _ in plain],
            [case.problem.target for case, _ in plain],
            [(*case.meter.names, "verdict", draw) for case, draw in plain],
        )
    )
    moved = [(case.problem, case.row["attack_text"], case.latent) for case in cases if case.latent is not None]
    perturbed = iter(ask_perturbed(victim, moved) if moved else ())
    return [[(next(said), False) for _ in range(draws)] if case.latent is None else [next(perturbed)] for case in cases]


def _breach(state: State, problem: Problem) -> str | None:
    """Why a state's string breaks the threat model, or None."""
    if len(state.tokens) > problem.budget:
        return f"{len(state.tokens)} tokens, budget {problem.budget}"
    if not np.isin(state.array, problem.allowed).all():
        return "token not allowed"
    return None
