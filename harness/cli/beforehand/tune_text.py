"""What `harness tune` says: of a search before it starts, and of what it came to."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.number_format import counted, format_flops

if TYPE_CHECKING:
    from harness.run.tuning.plan import Plan
    from harness.run.tuning.trial import Trial
    from harness.run.tuning.tune import Tuned
    from harness.spec.fields import AttackEntry


def plan_lines(plan: Plan, budget: float) -> list[str]:
    """What is tried and what it takes, before it starts."""
    number = max(1, int((budget - plan.clean) / plan.candidate))
    on = f"{counted(len(plan.cells), 'cell')}, {counted(plan.examples, 'training example')} each"
    return [
        f"{plan.attack.label} on {on}, at {format_flops(plan.per_example)} per example:",
        *(f"  {dimension}" for dimension in plan.space),
        f"{format_flops(budget)} (nominal) are enough for at least {counted(number, 'candidate')} of at most "
        f"{format_flops(plan.candidate)}, estimated; {format_flops(plan.clean)} go to clean prompts",
    ]


def plan_json(plan: Plan, budget: float) -> dict[str, Any]:
    """The same as JSON data."""
    return {
        "attack": plan.attack.label,
        "cells": len(plan.cells),
        "examples": plan.examples,
        "per_example": plan.per_example,
        "space": [{"kind": type(one).__name__.lower(), **asdict(one)} for one in plan.space],
        "flops": budget,
        "candidate_flops": plan.candidate,
        "clean_flops": plan.clean,
        "candidates": max(1, int((budget - plan.clean) / plan.candidate)),
    }


def outcome_lines(found: Tuned) -> list[str]:
    """What the search came to."""
    record, best = found.record, found.best
    tried = f"{counted(record.trials, 'candidate')} on {counted(record.examples, 'training example')}"
    lines = [f"Tried {tried} for {format_flops(record.flops)}; {found.why}."]
    lines.append(f"Best on the training examples: candidate {best.number}, {_score_text(best)}")
    if found.first is not None and found.first.number != best.number:
        lines.append(f"As the spec has it: {_score_text(found.first)}")
    return [*lines, "Expect less of the best on other examples: it was chosen for these."]


def _score_text(trial: Trial) -> str:
    if trial.whole is None:
        return f"not finished: {trial.why}" if trial.why else "dropped after half of the examples"
    loss = "no loss known" if trial.whole.loss is None else f"loss {trial.whole.loss:.3g}"
    spent = "" if trial.per_example is None else f", {format_flops(trial.per_example)} spent per example"
    return f"ASR {trial.whole.asr:.1%}, {loss}, {counted(trial.steps, 'step')}{spent}"


def outcome_json(found: Tuned, entry: AttackEntry) -> dict[str, Any]:
    """All that was tried and the entry, as JSON data."""
    return {
        "entry": entry.model_dump(mode="json"),
        "best": found.best.to_json(),
        "as_written": None if found.first is None else found.first.to_json(),
        "trials": [trial.to_json() for trial in found.trials],
        "ended": found.why,
    }
