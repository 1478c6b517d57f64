"""The rows of a step: what stands after it, and what the victim and the judge make of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.engine.defended import DefendedVictim, Reply
from harness.engine.judging import Jury
from harness.engine.meter import StepMeter
from harness.engine.perturbed import ask_perturbed
from harness.engine.track import Row, Track
from harness.latent import Latent
from harness.problem import Problem
from harness.records.schema import STEPS
from harness.state import State

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
    jury: Jury, tracks: Sequence[Track], rows: Sequence[list[Row]], meters: Sequence[Sequence[StepMeter]]
) -> None:
    """Ask the victim about each string that keeps to the threat model, and the judge about each answer; fill in what
    they say, and add what it costs to the meters.
    """
    valid = [
        (problem, row, meter, track.state.latent)
        for track, own, spent in zip(tracks, rows, meters, strict=True)
        for problem, row, meter in zip(track.problem.members, own, spent, strict=True)
        if row["failure"] is None
    ]
    replies = _replies(jury.desk.victim, [(problem, row["attack_text"], latent) for problem, row, _, latent in valid])
    answered = []
    for (problem, row, meter, _), (reply, beyond) in zip(valid, replies, strict=True):
        meter.judge += reply.victim
        meter.defense += reply.defense
        if beyond:
            row["failure"] = BEYOND
            continue
        answer = reply.answer(problem.example.proxy_label)
        row["loss"] = None if math.isnan(answer.loss) else answer.loss
        row["predicted"], row["answer"] = answer.label, answer.text
        if reply.too_long:
            row["failure"] = "longer than the context"
        else:
            answered.append((problem.example, answer, row, meter))
    verdicts = jury.verdicts([(example, answer) for example, answer, _, _ in answered])
    for (_, _, row, meter), (verdict, cost) in zip(answered, verdicts, strict=True):
        row["success"], row["score"], row["unparseable"] = verdict.success, verdict.score, verdict.unparseable
        meter.judge += cost


def _replies(victim: DefendedVictim, strings: Sequence[tuple[Problem, str, Latent | None]]) -> list[tuple[Reply, bool]]:
    """What the victim says to each string, and whether its perturbation is beyond the radius."""
    plain = [(problem, text) for problem, text, latent in strings if latent is None]
    said = iter(victim.ask([problem.prompt(text) for problem, text in plain], [problem.target for problem, _ in plain]))
    moved = [(problem, text, latent) for problem, text, latent in strings if latent is not None]
    answers = iter(ask_perturbed(victim, moved) if moved else ())
    return [(next(said), False) if latent is None else next(answers) for _, _, latent in strings]


def _breach(state: State, problem: Problem) -> str | None:
    """Why a state's string breaks the threat model, or None."""
    if len(state.tokens) > problem.budget:
        return f"{len(state.tokens)} tokens, budget {problem.budget}"
    if not np.isin(state.array, problem.allowed).all():
        return "token not allowed"
    return None
