"""One cell's rows against its manifest and against each other: verdicts, strings, order of steps, counts."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.records.cell import CellRecord
from leaderboard.submission.file_format.errors import shown
from leaderboard.submission.file_format.limits import EXAMPLES
from leaderboard.submission.verification.checks.compute import compute_problems
from leaderboard.submission.verification.checks.rows import SubmittedRows

Bools = NDArray[np.bool_]
_REASONS = ("already wrong", "already broken when clean", "blocked when clean", "too long: ", "not attacked: ")
_HALF = math.log(2) - 1e-3  # below this loss more than half of the probability is the proxy label's, whatever rounding


def row_problems(record: CellRecord, rows: SubmittedRows) -> Iterator[str]:
    """What of a cell's rows cannot be."""
    clean = rows["step"] == 0
    if (np.diff(clean.astype(np.int8)) > 0).any():
        yield "its clean examples do not come before its steps"
        return
    yield from _clean_problems(record, rows.where(clean))
    steps = rows.where(~clean)
    reasons = [*_order_problems(record, rows.where(clean), steps)]
    yield from reasons
    if reasons:
        return
    yield from _said(steps, _string_problems(record, steps))
    yield from _said(steps, _verdict_problems(record, rows.where(clean), steps))
    yield from compute_problems(record, steps)


def _said(rows: SubmittedRows, found: Iterator[tuple[str, Bools]]) -> Iterator[str]:
    """Each kind of problem once, with the first row that has it."""
    for what, wrong in found:
        if wrong.any():
            yield f"{rows.first(wrong)}: {what}" + (f" ({int(wrong.sum())} rows)" if wrong.sum() > 1 else "")


def _clean_problems(record: CellRecord, clean: SubmittedRows) -> Iterator[str]:
    if len(clean) != len(set(clean.example.tolist())):
        yield "an example is listed twice"
    if len(clean) > min(EXAMPLES, record.n_clean):
        yield f"it lists {len(clean)} examples, and {record.n_clean} were asked when clean"
    attacked = clean["attacked"].astype(bool)
    if int(attacked.sum()) != record.n_attacked:
        yield f"{int(attacked.sum())} examples are listed as attacked, and its manifest says {record.n_attacked}"
    has_reason = clean["has_excluded"]
    wrong_reason = [r is not None and not r.startswith(_REASONS) for r in clean.excluded]
    labels = record.task_kind == "labels"
    right = (clean["predicted"] == clean["label"]) & clean["has_predicted"]
    found: list[tuple[str, Bools]] = [
        ("the clean example does not say whether it was attacked", ~clean["has_attacked"]),
        ("an attacked example has a reason why it was not, or one that was not has none", attacked == has_reason),
        ("the reason why it was not attacked is none that the harness gives", np.asarray(wrong_reason, dtype=bool)),
        ("a clean example has what only a step has", _any_of(clean, ("success", "queries", "attack_text", "loss"))),
    ]
    if labels:
        already = np.asarray([r == "already wrong" for r in clean.excluded], dtype=bool)
        found += [
            (
                "an example of a task with labels has none, or an answer in text",
                ~clean["has_label"] | clean["has_answer"],
            ),
            (
                "a label is negative",
                (clean["has_label"] & (clean["label"] < 0)) | (clean["has_predicted"] & (clean["predicted"] < 0)),
            ),
            ("it was attacked, although the victim got it wrong when clean", attacked & ~right),
            ("it counts as already wrong, although the victim got it right", already & right),
        ]
        if int(right.sum()) > record.n_clean_correct or int((~right).sum()) > record.n_clean - record.n_clean_correct:
            yield (
                f"its examples have {int(right.sum())} right and {int((~right).sum())} wrong answers, and its manifest "
                f"says {record.n_clean_correct} of {record.n_clean} right"
            )
    else:
        found.append(("an example that is answered in text has a label", clean["has_label"] | clean["has_predicted"]))
        found.append(("it was attacked, although nothing was answered when clean", attacked & ~clean["has_answer"]))
    yield from _said(clean, iter(found))


def _any_of(rows: SubmittedRows, names: tuple[str, ...]) -> Bools:
    found: Bools = np.logical_or.reduce([rows[f"has_{name}"] for name in names])
    return found


def _order_problems(record: CellRecord, clean: SubmittedRows, steps: SubmittedRows) -> Iterator[str]:
    """Steps 1, 2, … of every attacked example, as far as the search went."""
    attacked = set(clean.example[clean["attacked"].astype(bool)].tolist())
    there = set(steps.example.tolist())
    if there - attacked:
        yield f"there are steps of example {shown(steps.names[min(there - attacked)])}, which was not attacked"
        return
    if attacked - there and record.attack_steps:
        yield f"example {shown(steps.names[min(attacked - there)])} was attacked, and has no step"
        return
    if not len(steps):
        return
    step = steps["step"].astype(np.int64)
    same = np.diff(steps.example, prepend=-1) == 0
    expected = np.where(same, np.concatenate([[0], step[:-1]]) + 1, 1)
    begins = np.flatnonzero(~same)
    if (step != expected).any() or len(begins) != len(there):
        at = int(np.flatnonzero(step != expected)[0]) if (step != expected).any() else int(begins[-1])
        yield f"example {shown(steps.names[steps.example[at]])}: its steps are not 1, 2, 3 … in order, each once"
        return
    ends = np.append(begins[1:], len(steps)) - 1
    if step.max() > record.attack_steps:
        yield f"{int(step.max())} steps, and its manifest says {record.attack_steps}"
    early = step[ends] < record.attack_steps
    limited = record.threat.get("queries") is not None or record.threat.get("flops") is not None
    if early.any() and not limited:
        won = np.logical_or.reduceat(steps["success"].astype(bool), begins)
        unfinished = early & ~(won & record.stop_on_success)
        if unfinished.any():
            at = ends[int(np.flatnonzero(unfinished)[0])]
            yield (
                f"example {shown(steps.names[steps.example[at]])}: its search ends after step {int(step[at])} of "
                f"{record.attack_steps} without a success or a limit that ends it"
            )


def _string_problems(record: CellRecord, rows: SubmittedRows) -> Iterator[tuple[str, Bools]]:
    success, failed = rows["success"].astype(bool), rows["has_failure"]
    yield "does not say whether it succeeded", ~rows["has_success"]
    yield "a success without an attack string", success & (~rows["has_attack_text"] | (rows["tokens"] < 0))
    yield "a success of a string that breaks the threat model", success & failed
    yield "has no attack string, and no reason why", ~rows["has_attack_text"] & ~failed
    tokens = record.threat.get("tokens")
    budget = tokens if isinstance(tokens, int) else 0
    yield f"a string of more than {budget} tokens that does not count as failed", (rows["tokens"] > budget) & ~failed
    yield "a negative or empty token id", rows["lowest_token"] < 0
    if record.threat.get("alphabet") == "printable_ascii":
        yield "a success of a string that is not printable ASCII, as the threat model asks", success & ~rows["ascii"]


def _verdict_problems(record: CellRecord, clean: SubmittedRows, rows: SubmittedRows) -> Iterator[tuple[str, Bools]]:
    success, failed = rows["success"].astype(bool), rows["has_failure"]
    score, loss = rows["score"].astype(np.float64), rows["loss"].astype(np.float64)
    yield "a success of an answer that could not be read", success & rows["unparseable"].astype(bool)
    yield "a score that is not from 0 to 1", rows["has_score"] & ~((score >= 0) & (score <= 1))
    yield "a loss that is NaN or negative", rows["has_loss"] & ~(loss >= -1e-6)
    yield "an attack loss that is NaN", rows["has_attack_loss"] & np.isnan(rows["attack_loss"].astype(np.float64))
    draws, broken = rows["draws"].astype(np.int64), rows["broken_draws"].astype(np.int64)
    drawn = rows["has_draws"]
    yield (
        "draws without a count of those broken, or more broken than drawn",
        (drawn != rows["has_broken_draws"]) | (drawn & ~((draws >= 1) & (broken >= 0) & (broken <= draws))),
    )
    yield "a verdict that is not that of more than half of its draws", drawn & (success != (2 * broken > draws))
    said = rows["has_predicted"] if record.task_kind == "labels" else rows["has_answer"]
    yield "a success without an answer of the victim", success & ~said
    yield "neither an answer, nor blocked, nor failed", ~said & ~failed & ~np.isposinf(loss)
    if record.task_kind == "text":
        yield "a label where the answer is a text", rows["has_predicted"]
        return
    yield "an answer in text where it is a label", rows["has_answer"]
    labels = np.full(len(clean.names), -1)
    labels[clean.example] = clean["label"]
    right = said & (rows["predicted"] == labels[rows.example])
    yield "a success, although the victim gave the right label", success & right
    yield (
        "the right label, although the loss says that the proxy label is the likelier",
        (
            right & (loss < _HALF) & ~(draws > 1)  # of several draws the loss is a mean
        ),
    )


def verdicts_of(record: CellRecord, clean: SubmittedRows, steps: SubmittedRows) -> Iterator[tuple[int, int, bool]]:
    """Each combination of right label, label said and success in a cell's steps; none where answers are texts."""
    said = steps["has_predicted"] & ~steps["has_failure"]
    if record.task_kind == "text" or not said.any():
        return
    labels = np.full(len(clean.names), -1)
    labels[clean.example] = clean["label"]
    combined = np.stack([labels[steps.example], steps["predicted"], steps["success"]], axis=1)[said]
    for label, predicted, success in np.unique(combined, axis=0).tolist():
        yield int(label), int(predicted), bool(success)
