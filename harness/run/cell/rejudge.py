"""Judging again what another run recorded: no attack is run, and no victim is asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.api.judge import Answer, Verdict
from harness.api.task import Example, TaskData
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.router import ModelRouter
from harness.engine.search.step_outcome import utility_of_recorded
from harness.errors import DataError
from harness.flops import UNKNOWN, Flops
from harness.records.cell_manifest import CellRecord
from harness.records.exclusion import (
    ALREADY_BROKEN,
    BLOCKED,
    NO_CLEAN_ANSWER,
    NOT_ATTACKED,
    NOT_ATTACKED_UNJUDGED,
    NOT_JUDGED,
)
from harness.records.model_role import ModelRole
from harness.records.read import Cell, read_run
from harness.records.step_row import StepRow, verdict_counts
from harness.registry.defense_stack import is_randomised
from harness.run.cell.base_record import base_record, compute
from harness.run.cell.diagnostics import rejudged, tells
from harness.run.cell.manifest import auxiliary_facts
from harness.run.cell.rejudge_drawn import judged_again, recorded_answer
from harness.run.cell.result import CellResult
from harness.run.cell_label import cell_label
from harness.run.prepare.open_models import models_by_name
from harness.run.prepare.preparer import Preparer
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.run.run_folder import now
from harness.spec.load import LoadedSpec


@dataclass(frozen=True)
class Sources:
    """Runs whose finished searches need not be done again."""

    runs: tuple[Path, ...] = ()

    @cached_property
    def _cells(self) -> dict[str, list[Cell]]:
        found: dict[str, list[Cell]] = {}
        for cell in (cell for path in self.runs for cell in read_run(path) if cell.record.search):
            found.setdefault(cell.record.search, []).append(cell)
        return found

    def find(self, cell: ResolvedCell) -> Cell | None:
        """The finished cell of the same search, if one of the runs has it. Never of a randomised defense: one answer of
        several is recorded, which is not what this cell's judge would be given; nor one that lacks diagnostics that the
        cell is to have, for which the victim must be asked.

        Raises:
            DataError: a run cannot be read.
        """
        if not self.runs or is_randomised(cell.spec.defense):
            return None
        found = self._cells.get(cell.keys.search, ())
        return next((one for one in found if tells(one.record, cell.spec.diagnostics)), None)


NO_SOURCES = Sources()

_NOT_ATTACKED = {
    ALREADY_BROKEN: NOT_ATTACKED,
    NOT_ATTACKED: NOT_ATTACKED,
    NOT_JUDGED: NOT_ATTACKED_UNJUDGED,
    NOT_ATTACKED_UNJUDGED: NOT_ATTACKED_UNJUDGED,
}
"""What becomes of an example that was left out for a verdict on its clean answer, where this judge sees no success."""


@dataclass(frozen=True)
class Rejudged:
    """The tables of a cell under another judge, and what of its manifest they change."""

    examples: list[dict[str, Any]]
    steps: list[StepRow]
    changes: dict[str, Any]


_OF_THE_SPEC = frozenset({"key", "spec_name", "spec_version", "spec_hash", "judge", "judge_calibration"})
_OF_THE_SPEC |= {"target_asr", "clean_floor", "utility", "tuning"}
"""What of a record the spec says that it is judged by."""
_LABELLED = ("task", "victim", "defense", "attack")  # by what sets them apart in that spec


def rejudge_cell(cell: ResolvedCell, spec: LoadedSpec, source: Cell, preparer: Preparer) -> CellResult:
    """A search done before, under this cell's judge.

    Raises:
        DataError: the records hold examples that the task has not.
    """
    began, started = time.monotonic(), now()
    preparer.reporter.stage(f"judge {cell_label(cell.spec)}")
    changes: dict[str, Any] = {}
    examples = source.examples().to_pylist()
    steps = [StepRow.from_record(row) for row in source.steps().to_pylist()]
    if source.record.key != cell.keys.cell:
        models = preparer.judge_models(cell)
        router = ModelRouter(None, models_by_name(models, "judge"))
        found = rejudge(source, JudgeRunner(cell.spec.judge.plugin, router, labels=cell.data.labels), cell.data)
        examples, steps, changes = found.examples, found.steps, found.changes
        kept = {
            role: facts for role, facts in source.record.auxiliary.items() if ModelRole.parse(role).asker != "judge"
        }
        changes |= {"auxiliary": kept | auxiliary_facts(cell, models)}
        changes |= {"seconds": time.monotonic() - began, "started": started}
        if source.record.defense_facts is not None:
            right = source.record.model_copy(update=changes).clean_accuracy
            attacked = changes.get("n_attacked", source.record.n_attacked)
            facts = rejudged(source.record.defense_facts, steps, right, attacked, cell.spec.diagnostics)
            changes["defense_facts"] = facts
    base = base_record(cell.spec, spec, cell.keys.cell)
    changes |= {name: getattr(base, name) for name in _OF_THE_SPEC}
    for name in _LABELLED:
        changes[name] = getattr(source.record, name).model_copy(update={"label": getattr(base, name).label})
    record = CellRecord.model_validate(source.record.model_copy(update=changes).model_dump(mode="json"))
    return CellResult(record, examples, steps)


def rejudge(source: Cell, judge: JudgeRunner, data: TaskData) -> Rejudged:
    """Put the recorded answers to a judge.

    An example whose clean answer this judge takes for a success drops out; one that was not attacked because of the
    judge before stays out. In text, the clean prompts that count are those of the table, whose answers are recorded.

    Raises:
        DataError: the records hold examples that the task has not.
    """
    by_id = {example.id: example for example in data.validation}
    examples: list[dict[str, Any]] = source.examples().to_pylist()
    missing = [row["example"] for row in examples if row["example"] not in by_id]
    if missing:
        raise DataError(
            f"{source.folder}: holds example {missing[0]}, which the task does not have; use the task's old data"
        )
    steps = [StepRow.from_record(row) for row in source.steps().to_pylist()]
    if data.labels:  # whom to attack does not depend on the judge
        steps = _judged_again(judge, steps, by_id, source.record)
        return Rejudged(examples, steps, dict(verdict_counts(steps)))
    answers = [recorded_answer(row["predicted"], row["answer"], row["answer_state"]) for row in examples]
    verdicts = judge.verdicts([(by_id[row["example"]], answer) for row, answer in zip(examples, answers, strict=True)])
    for row, answer, (verdict, _) in zip(examples, answers, verdicts, strict=True):
        row["benign"] = by_id[row["example"]].benign  # which older records do not say
        row["right"] = _right(row, answer, verdict)
        utility = utility_of_recorded(by_id[row["example"]], row["answer"], row["answer_state"])
        row["utility"] = None if _is_unasked(row) else utility
        if not row["attacked"] and row["excluded"] not in _NOT_ATTACKED:
            continue  # for a reason that is no judge's
        why = NO_CLEAN_ANSWER if answer.missing else NOT_JUDGED if verdict.unparseable else None
        why = why or (ALREADY_BROKEN if verdict.success else _NOT_ATTACKED.get(row["excluded"]))
        row["attacked"], row["excluded"] = why is None, why
    attacked = {row["example"] for row in examples if row["attacked"]}
    steps = _judged_again(judge, [row for row in steps if row.example in attacked], by_id, source.record)
    cost = sum((spent for _, spent in verdicts), Flops())
    too_long = [_is_unasked(row) for row in examples]
    changes = {
        "n_clean": len(examples),
        "n_clean_correct": sum(
            not (verdict.success or verdict.unparseable or answer.missing or unasked)
            for (verdict, _), answer, unasked in zip(verdicts, answers, too_long, strict=True)
        ),
        "n_clean_missing": sum(answer.missing for answer in answers),
        "n_clean_unparseable": sum(verdict.unparseable for verdict, _ in verdicts),
        "n_too_long": sum(too_long),
        "n_attacked": len(attacked),
        **verdict_counts(steps),
        "clean_compute": compute(cost),
    }
    return Rejudged(examples, steps, changes)


def _is_unasked(row: dict[str, Any]) -> bool:
    """Whether a clean prompt of the table was too long to be put to the victim."""
    return row["answer"] is None and str(row["excluded"]).startswith("too long: ")


def _right(row: dict[str, Any], answer: Answer, verdict: Verdict) -> bool | None:
    """Whether a clean prompt of the table was answered as it should be, as this judge sees it."""
    if answer.missing or verdict.unparseable or _is_unasked(row):
        return None
    return not verdict.success and not (row["excluded"] == BLOCKED and row["benign"])


def _judged_again(
    judge: JudgeRunner, rows: Sequence[StepRow], by_id: dict[str, Example], record: CellRecord
) -> list[StepRow]:
    """The rows with the judge's verdicts; what its models take comes on top of what the victim's answer took."""
    # What the models of the judge before took was added to what the answers took, and cannot be told from it.
    mixed = any(ModelRole.parse(role).asker == "judge" for role in record.auxiliary)
    if record.samples:
        return judged_again(judge, rows, by_id, record.threat.get("asks") or 1, mixed=mixed)
    found = list(rows)
    answers = {i: _answer(row) for i, row in enumerate(rows) if row.failure is None}
    verdicts = judge.verdicts([(by_id[rows[i].example], answer) for i, answer in answers.items()])
    for (i, answer), (verdict, cost) in zip(answers.items(), verdicts, strict=True):
        found[i] = replace(
            rows[i],
            success=verdict.success,
            score=verdict.score,
            unparseable=None if answer.missing else verdict.unparseable,
            judge_output=None if verdict.output is None else [verdict.output],
            utility=utility_of_recorded(by_id[rows[i].example], rows[i].answer, rows[i].answer_state),
            broken_draws=None if rows[i].draws is None else int(verdict.success),  # of a source there is one draw
            judge_nominal=UNKNOWN if mixed else rows[i].judge_nominal + cost.nominal,
            judge_executed=UNKNOWN if mixed else rows[i].judge_executed + cost.executed,
        )
    return found


def _answer(row: StepRow) -> Answer:
    return recorded_answer(row.predicted, row.answer, row.answer_state, row.loss)
