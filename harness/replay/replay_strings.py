"""Attack strings out of records, put back through the victim that they are said to break, or not to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.api.problem.problem import Problem
from harness.api.problem.search_result import StringProgress
from harness.api.problem.state import State
from harness.engine.meter import StepMeter
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.step_outcome import StepOutcome, judge_outcomes
from harness.records.answer_state import NO_ANSWER
from harness.records.cell_manifest import CellRecord
from harness.records.model_role import ModelRole
from harness.records.step_row import StepRow
from harness.replay.recorded import ReplayedString
from harness.replay.tolerance import OF_TEXTS, is_undecided, losses_differ


def replay_strings(
    record: CellRecord,
    steps: Sequence[StepRow],
    problems: Mapping[str, Problem],
    judge: JudgeRunner,
    names: tuple[str | int, ...],
) -> list[ReplayedString]:
    """Make the row of each recorded string again, as the search made it: whether its tokens keep to the threat model
    and survive as text, what the victim says, and what the judge makes of that.

    Args:
        steps: of one cell, whose attack changes texts.
        problems: by example.
        names: what the search's randomness depends on besides example and step.
    """
    outcomes = [_outcome(row, problems[row.example], names) for row in steps if row.example in problems]
    judge_outcomes(judge, outcomes)
    made_again = iter(outcomes)
    return [
        _compared(record, row, next(made_again))
        if row.example in problems
        else ReplayedString(record, row, "the task has no such example among those that the spec attacks")
        for row in steps
    ]


def _outcome(row: StepRow, problem: Problem, names: tuple[str | int, ...]) -> StepOutcome:
    string = StringProgress(problem, State(tuple(row.attack_tokens), earlier=tuple(row.earlier or ())), row.step - 1)
    return StepOutcome.of(problem, string, StepMeter(names=(*names, row.example, row.step)))


def _compared(record: CellRecord, recorded: StepRow, outcome: StepOutcome) -> ReplayedString:
    """A recorded step against what comes of its string now."""
    found = outcome.row(0.0)
    undecided = any(is_undecided(answer.scores) for answer in outcome.answers)
    differences = []
    if found.failure != recorded.failure:
        differences.append(f"{_fate(recorded)} in the records, and {_fate(found)} here")
    elif found.attack_text != recorded.attack_text:
        differences.append("its tokens do not make its text here")
    elif found.failure is None:
        # Drawn answers are others on other hardware: their counts are compared, of many strings together.
        differences += [] if record.samples else _verdict_differences(recorded, found, undecided=undecided)
    losses = losses_differ(recorded.loss, found.loss)
    if losses and not differences:
        differences.append(f"its loss is {_number(recorded.loss)} in the records, {_number(found.loss)} here")
    if not differences and _judging_differs(record, recorded, found):
        differences.append(
            f"judging it took {recorded.judge_nominal:g} FLOPs in the records, {found.judge_nominal:g} here (nominal)"
        )
    apart = None
    if recorded.loss is not None and found.loss is not None and np.isfinite([recorded.loss, found.loss]).all():
        apart = abs(recorded.loss - found.loss)
    verdicts = (recorded.success, recorded.predicted) != (found.success, found.predicted)
    close = not differences and verdicts and not record.samples
    drawn = (found.draws, found.broken_draws or 0) if record.samples and found.draws else None
    return ReplayedString(record, recorded, "; ".join(differences), close, apart, drawn)


def _verdict_differences(recorded: StepRow, found: StepRow, *, undecided: bool) -> list[str]:
    if undecided:
        return []
    if found.success != recorded.success:
        return [f"a {_word(recorded.success)} in the records, a {_word(found.success)} here"]
    if found.predicted != recorded.predicted:
        return [f"it got label {recorded.predicted} in the records, {found.predicted} here"]
    if (found.answer is None) != (recorded.answer is None):  # texts differ in a word or two from machine to machine
        return [f"it was {_answered(recorded)} in the records, and is {_answered(found)} here"]
    if (recorded.answer_state in NO_ANSWER) != (found.answer_state in NO_ANSWER):
        return [f"{_state(recorded)} in the records, {_state(found)} here"]
    if bool(recorded.unparseable) != bool(found.unparseable):
        return [f"its answer could {_readable(recorded)} be judged in the records, and could {_readable(found)} here"]
    draws = (recorded.draws, recorded.broken_draws), (found.draws, found.broken_draws)
    if recorded.draws is not None and draws[0] != draws[1]:  # older records do not count draws
        return ["{1} of {0} draws broken in the records, ".format(*draws[0]) + "{1} of {0} here".format(*draws[1])]
    if recorded.answer == found.answer and losses_differ(recorded.score, found.score):
        return [f"the judge gave it {_number(recorded.score)} in the records, {_number(found.score)} here"]
    return []


def _judging_differs(record: CellRecord, recorded: StepRow, found: StepRow) -> bool:
    """The convention counts tokens: no rounding, no machine. Answers in text may be longer on another machine, and
    are compared where they are the recorded ones; what a judging model says, or a defense's, may be longer too.
    """
    known = not np.isnan([recorded.judge_nominal, found.judge_nominal]).any()
    if not known or found.failure is not None:
        return False
    if found.predicted is None and not _same_texts(record, recorded, found):
        return False
    asks_models = any(ModelRole.parse(role).asker in ("judge", "defense") for role in record.auxiliary)
    tolerance = OF_TEXTS if asks_models and found.predicted is None else 1e-9
    return not np.isclose(recorded.judge_nominal, found.judge_nominal, rtol=tolerance, atol=0.0)


def _same_texts(record: CellRecord, recorded: StepRow, found: StepRow) -> bool:
    """Whether all answers to a string are known, and those that are recorded; not the one of a defense's draws."""
    if record.samples:
        return found.sampled_answer is not None and found.sampled_answer == recorded.sampled_answer
    return found.answer is not None and found.answer == recorded.answer and found.draws == recorded.draws == 1


def _fate(row: StepRow) -> str:
    return f"a {_word(row.success)}" if row.failure is None else f"failed without a verdict ({row.failure!a})"


def _word(success: bool) -> str:
    return "success" if success else "failure"


def _answered(row: StepRow) -> str:
    return "blocked" if row.answer is None and row.predicted is None else "answered"


def _state(row: StepRow) -> str:
    return f"no answer ({row.answer_state})" if row.answer_state in NO_ANSWER else "an answer or a refusal"


def _readable(row: StepRow) -> str:
    return "not" if row.unparseable else "well"


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.4g}"
