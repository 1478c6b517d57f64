"""Clean prompts of recorded cells, put to the victim again: which are right, which were attacked, which left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.api.problem.problem import Problem
from harness.api.task import Example
from harness.engine.search.judging import JudgeRunner
from harness.records.exclusion import NOT_ATTACKED, NOT_ATTACKED_UNJUDGED
from harness.replay.recorded import RecordedCell
from harness.replay.tolerance import is_undecided
from harness.run.cell.clean_check import CleanCheck, check_clean, choose_examples, place_for, shortened
from harness.run.prepare.preparer import PreparedCell


@dataclass(frozen=True)
class CleanAnswers:
    """What the defended victim says to the clean prompts of a spec.

    Attributes:
        examples: the prompts, as the victim was given them.
        truncated: how many were cut off to fit the context.
        undecided: whether another machine may get another label, per prompt.
    """

    examples: Sequence[Example]
    truncated: int
    clean: CleanCheck
    undecided: Sequence[bool]


def ask_clean(prepared: PreparedCell, judge: JudgeRunner) -> CleanAnswers:
    """Ask for every clean prompt of a cell, as the run of it did."""
    spec = prepared.cell.spec
    examples, truncated = list(prepared.cell.data.validation[: spec.clean_examples]), 0
    if spec.too_long == "truncate":
        examples, truncated = shortened(examples, prepared.victim, spec.threat)
    clean = check_clean(judge, examples, (spec.seed, prepared.cell.keys.pipeline))
    undecided = [is_undecided(None if r.logits is None else r.logits.tolist()) for r in clean.replies]
    return CleanAnswers(examples, truncated, clean, undecided)


def problems_by_example(prepared: PreparedCell, answers: CleanAnswers) -> dict[str, Problem]:
    """Each example that the spec attacks if it can be, with the place of its attack string."""
    spec = prepared.cell.spec
    placed = place_for(prepared.attack_router.victim, answers.examples[: spec.examples], spec.threat)
    return {problem.example.id: problem for problem in placed}


def clean_problems(recorded: RecordedCell, prepared: PreparedCell, answers: CleanAnswers) -> Iterator[str]:
    """What a cell's examples and counts say otherwise than the victim, each a line in words."""
    record = recorded.record
    _, rows = choose_examples(
        prepared.victim, recorded.spec, answers.examples, answers.clean, prepared.attack_router.victim
    )
    ids = [row["example"] for row in recorded.examples]
    if ids != [row["example"] for row in rows]:
        missing = next((row["example"] for row in rows if row["example"] not in ids), None)
        of = "in another order" if missing is None else f"without {missing!a}"
        yield f"it lists other examples than the task has, or {of}"
        return
    labels = [label.strip() for label in prepared.cell.data.labels]
    if record.labels not in ([], labels):  # older records have none
        yield f"its labels are {record.labels!a:.80} in the records, {labels!a:.80} here"
    targets = any(row["target"] is not None for row in recorded.examples)  # older records have none
    for listed, row, undecided in zip(recorded.examples, rows, answers.undecided, strict=False):
        yield from _example_problems(listed, row, undecided=undecided, targets=targets)
    # A run judged again in text has the answers to the listed prompts alone, of which others were attacked before.
    judged_anew = record.n_clean == len(rows) and record.task_kind == "text"
    asked = len(rows) if judged_anew else len(answers.examples)
    attacked = {row["example"] for row in recorded.examples if row["attacked"]}
    benign = [example.benign for example in answers.examples if example.id in attacked]
    if not judged_anew and record.benign != (bool(benign) and all(benign)):
        yield f"its prompts are {'' if record.benign else 'not '}benign in the records, and here the opposite"
    if record.n_clean != asked:
        yield f"{record.n_clean} clean examples were asked in the records, and there are {asked}"
        return
    replies = answers.clean.replies[:asked]
    for recorded_count, found, what in (
        (record.n_clean_missing, sum(reply.missing for reply in replies), "got no answer"),
        (record.n_too_long, sum(reply.too_long for reply in replies), "are too long"),
    ):
        if recorded_count != found:
            yield f"{recorded_count} of {asked} clean examples {what} in the records, {found} here"
    right, close = sum(answers.clean.correct[:asked]), sum(answers.undecided[:asked])
    if abs(record.n_clean_correct - right) > close:
        yield f"{record.n_clean_correct} of {asked} clean examples are right in the records, {right} here"
    if (unparseable := sum(answers.clean.unparseable[:asked])) != record.n_clean_unparseable:
        yield f"{record.n_clean_unparseable} clean answers could not be judged in the records, {unparseable} here"
    if record.n_truncated != answers.truncated and asked == len(answers.examples):
        yield f"{record.n_truncated} prompts were cut off in the records, {answers.truncated} here"
    spent, took = record.clean_compute.nominal, answers.clean.cost.nominal
    is_label = record.task_kind == "labels"
    if is_label and spent is not None and not np.isnan(took) and not np.isclose(spent, took, rtol=1e-6, atol=0.0):
        yield f"its clean prompts took {spent:g} FLOPs in the records, {took:g} here (nominal)"


def _example_problems(listed: dict[str, Any], row: dict[str, Any], *, undecided: bool, targets: bool) -> Iterator[str]:
    """A row of the table against the same row made here."""
    where = f"example {row['example']!a}"
    for name in ("label", "target"):
        older = name == "target" and listed[name] is None and not targets
        if listed[name] != row[name] and not older:
            yield f"{where}: its {name} is {listed[name]} in the records, {row[name]} here"
    if undecided:
        return
    if listed["predicted"] != row["predicted"]:
        yield f"{where}: its clean prompt got label {listed['predicted']} in the records, {row['predicted']} here"
    elif (listed["answer"] is None) != (row["answer"] is None):
        yield f"{where}: its clean prompt got an answer in the records or here, but not in both"
    elif listed["benign"] not in (None, row["benign"]):
        yield f"{where}: it is {'' if listed['benign'] else 'not '}benign in the records, and here the opposite"
    elif listed["excluded"] != row["excluded"] and not _judged_anew(listed, row):
        yield f"{where}: {_fate(listed)} in the records, {_fate(row)} here"


def _judged_anew(listed: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether the judge of the run whose search this is may have left the example out."""
    return listed["excluded"] in (NOT_ATTACKED, NOT_ATTACKED_UNJUDGED) and row["excluded"] is None


def _fate(row: dict[str, Any]) -> str:
    return "attacked" if row["excluded"] is None else f"not attacked ({row['excluded']})"
