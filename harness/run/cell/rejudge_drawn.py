"""Drawn answers judged again: each that is recorded of a string, not only those that count for its step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.api.judge import Answer
from harness.api.task import Example
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.step_outcome import sampled_columns, utility_of_recorded, verdict_columns
from harness.flops import UNKNOWN, Flops
from harness.records.step_row import StepRow


def judged_again(
    judge: JudgeRunner, rows: Sequence[StepRow], by_id: Mapping[str, Example], counted: int, *, mixed: bool
) -> list[StepRow]:
    """The rows with the judge's verdicts on all their answers.

    Args:
        counted: how many of the answers to a string count for its step.
        mixed: whether what the models of the judge before took cannot be told from what the answers took.
    """
    found = list(rows)
    answers = {i: recorded_answers(row) for i, row in enumerate(rows) if row.sampled_answer is not None}
    cases = [(by_id[rows[i].example], answer) for i, own in answers.items() for answer in own]
    judged = iter(judge.verdicts(cases))
    for i, own in answers.items():
        verdicts, costs = zip(*(next(judged) for _ in own), strict=True)
        cost, row = sum(costs, Flops()), rows[i]
        pairs = list(zip(own, verdicts, strict=True))
        told = verdict_columns(pairs, pairs[:counted], success=any(verdict.success for _, verdict in pairs[:counted]))
        told["utility"] = utility_of_recorded(by_id[row.example], told["answer"], told["answer_state"])
        found[i] = replace(
            row,
            **(told | sampled_columns(pairs, row.sampled_nominal or [])),
            judge_nominal=UNKNOWN if mixed else row.judge_nominal + cost.nominal,
            judge_executed=UNKNOWN if mixed else row.judge_executed + cost.executed,
        )
    return found


def recorded_answers(row: StepRow) -> list[Answer]:
    """The drawn answers that a row holds."""
    pairs = zip(row.sampled_answer or (), row.sampled_state or (), strict=True)
    return [recorded_answer(None, text, state, row.loss) for text, state in pairs]


def recorded_answer(label: int | None, text: str | None, state: str | None, loss: float | None = None) -> Answer:
    """An answer out of records: without scores; without a state, it was answered or blocked."""
    return Answer(label, (), float("nan") if loss is None else loss, text, state or "answered")  # type: ignore[arg-type]
