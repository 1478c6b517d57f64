"""One cell's rows against its manifest and against each other: order of steps, strings and verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from harness.records.cell_manifest import CellRecord
from harness.records.string_failure import BEYOND_RADIUS, WITH_TEXT, WITHOUT_TEXT, too_many_tokens
from leaderboard.arrays import Booleans, Integers
from leaderboard.submission.verification.checks.clean_examples import clean_problems, is_served
from leaderboard.submission.verification.checks.compute import compute_problems
from leaderboard.submission.verification.checks.diagnostics import diagnostics_problems
from leaderboard.submission.verification.checks.sampled_answers import sampled_problems
from leaderboard.submission.verification.submitted_rows import SubmittedRows, WrongRows

BUILTIN = "robustness-harness"  # the distribution of the project's own judges, which look at labels alone
_MAX_TARGET_LOSS = math.log(2) - 1e-3  # below it more than half of the probability is the target label's, with rounding


def row_problems(record: CellRecord, rows: SubmittedRows) -> Iterator[str]:
    """What of a cell's rows cannot be."""
    is_clean = rows["step"] == 0
    if (np.diff(is_clean.astype(np.int8)) > 0).any():
        yield "its clean examples do not come before its steps"
        return
    clean, steps = rows.where(is_clean), rows.where(~is_clean)
    yield from clean_problems(record, clean)
    out_of_order = [*_order_problems(record, clean, steps)]
    yield from out_of_order
    if out_of_order:
        return
    yield from steps.first_of_each(_string_problems(record, steps))
    yield from steps.first_of_each(_failure_problems(record, steps))
    yield from steps.first_of_each(_verdict_problems(record, clean, steps))
    yield from _count_problems(record, steps)
    yield from steps.first_of_each(sampled_problems(record, steps))
    yield from compute_problems(record, steps)
    yield from diagnostics_problems(record, steps)


def _count_problems(record: CellRecord, steps: SubmittedRows) -> Iterator[str]:
    """The counts of answers without a verdict, of records that have them."""
    asked = steps["failure"] < 0
    found = [asked, asked & steps.booleans("missing"), asked & steps.booleans("unparseable")]
    counts, stated = [int(rows.sum()) for rows in found], [record.n_asked, record.n_missing, record.n_unparseable]
    if any(stated) and stated != counts:
        yield f"of asked, missing and unjudged answers its manifest says {stated}, and its steps have {counts}"


def _order_problems(record: CellRecord, clean: SubmittedRows, steps: SubmittedRows) -> Iterator[str]:
    """Steps 1, 2, … of every attacked example, as far as the search went."""
    attacked = set(clean.example[clean.booleans("attacked")].tolist())
    with_steps = set(steps.example.tolist())
    if with_steps - attacked:
        row = int(np.flatnonzero(steps.example == min(with_steps - attacked))[0])
        yield f"there are steps of {steps.example_text(row)}, which was not attacked"
        return
    if attacked - with_steps and record.attack_steps:
        row = int(np.flatnonzero(clean.example == min(attacked - with_steps))[0])
        yield f"{clean.example_text(row)} was attacked, and has no step"
        return
    if not len(steps):
        return
    step = steps["step"].astype(np.int64)
    same_example = np.diff(steps.example, prepend=-1) == 0
    expected = np.where(same_example, np.concatenate([[0], step[:-1]]) + 1, 1)
    starts = np.flatnonzero(~same_example)
    if (step != expected).any() or len(starts) != len(with_steps):
        row = int(np.flatnonzero(step != expected)[0]) if (step != expected).any() else int(starts[-1])
        yield f"{steps.example_text(row)}: its steps are not 1, 2, 3 … in order, each once"
        return
    ends = np.append(starts[1:], len(steps)) - 1
    if step.max() > record.attack_steps:
        yield f"{int(step.max())} steps, and its manifest says {record.attack_steps}"
    ends_early = step[ends] < record.attack_steps
    is_limited = record.threat.get("queries") is not None or record.threat.get("flops") is not None
    if ends_early.any() and not is_limited:
        broken = np.logical_or.reduceat(steps.booleans("success"), starts)
        unexplained = ends_early & ~(broken & record.stop_on_success)
        if unexplained.any():
            row = int(ends[int(np.flatnonzero(unexplained)[0])])
            yield (
                f"{steps.example_text(row)}: its search ends after step {int(step[row])} of {record.attack_steps} "
                "without a success or a limit that ends it"
            )


def _string_problems(record: CellRecord, rows: SubmittedRows) -> WrongRows:
    success, failed = rows.booleans("success"), rows["has_failure"]
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


def _failure_problems(record: CellRecord, rows: SubmittedRows) -> WrongRows:
    """A string counts as failed for a reason that the harness gives, and all that this reason implies is there."""
    budget = record.threat.get("tokens")
    too_many = _has_too_many(rows, budget if isinstance(budget, int) else 0)
    without_text = too_many | rows.failed_as(WITHOUT_TEXT)
    with_text = rows.failed_as(WITH_TEXT)
    beyond_radius = rows.failed_as({BEYOND_RADIUS})
    yield (
        "the reason why its string failed is not one that the harness gives",
        (rows["has_failure"] & ~without_text & ~(with_text & ~(beyond_radius & (record.space != "latent")))),
    )
    yield "has no tokens of its string", ~rows["has_attack_tokens"]
    yield "a string that was given to the victim has no text", with_text & ~rows["has_attack_text"]
    yield (
        "a string that breaks the threat model or does not survive as text has one",
        (without_text & rows["has_attack_text"]),
    )
    said = np.logical_or.reduce(
        [rows[f"has_{name}"] for name in ("predicted", "answer", "loss", "score", "draws", "unparseable")]
    )
    yield "an answer to a string that was not given to the victim", without_text & said
    judged = rows["has_score"] | rows["has_draws"] | rows["has_unparseable"]
    yield "a verdict on a string that counts as failed without one", with_text & judged


def _has_too_many(rows: SubmittedRows, budget: int) -> Booleans:
    """Whether the reason is that a string has as many tokens as it has, and that they are too many, [R]."""
    found = np.zeros(len(rows), dtype=bool)
    for count in np.unique(rows["tokens"][rows["has_failure"] & (rows["tokens"] > budget)]).tolist():
        found |= (rows["tokens"] == count) & rows.failed_as({too_many_tokens(count, budget)})
    return found


def _verdict_problems(record: CellRecord, clean: SubmittedRows, rows: SubmittedRows) -> WrongRows:
    success, failed = rows.booleans("success"), rows["has_failure"]
    score, loss = rows.floats("score"), rows.floats("loss")
    yield "a success of an answer that could not be read", success & rows.booleans("unparseable")
    missing = rows.booleans("missing")
    if record.task_kind == "labels" and not is_served(record):
        yield "no label, from a model that gives one for each prompt", missing
    others_judged = bool(record.samples)  # of several drawn answers, those that do not count for the step
    told = success | rows["has_unparseable"] | (rows["has_draws"] & ~others_judged)
    yield "a verdict without an answer", missing & told
    yield (
        "a state that no answer has, or that of no answer",
        rows.booleans("odd_state") | (rows["has_answer_state"] & ~rows["has_answer"] & ~missing),
    )
    yield "a score that is not from 0 to 1", rows["has_score"] & ~((score >= 0) & (score <= 1))
    yield "a loss that is NaN or negative", rows["has_loss"] & ~(loss >= -1e-6)
    yield "an attack loss that is NaN", rows["has_attack_loss"] & np.isnan(rows.floats("attack_loss"))
    draws, broken = rows["draws"].astype(np.int64), rows["broken_draws"].astype(np.int64)
    has_draws = rows["has_draws"]
    yield (
        "draws without a count of those broken, or more broken than drawn",
        (has_draws != rows["has_broken_draws"]) | (has_draws & ~((draws >= 1) & (broken >= 0) & (broken <= draws))),
    )
    if not record.samples:
        yield "a verdict that is not that of more than half of its draws", has_draws & (success != (2 * broken > draws))
    answered = rows["has_predicted"] if record.task_kind == "labels" else rows["has_answer"]
    yield "a success without an answer of the victim", success & ~answered
    yield "neither an answer, nor blocked, nor failed", ~answered & ~failed & ~np.isposinf(loss)
    if record.task_kind == "text":
        yield "a label where the answer is a text", rows["has_predicted"]
        return
    yield "an answer in text where it is a label", rows["has_answer"]
    right = answered & (rows["predicted"] == _labels(clean)[rows.example])
    if record.judge.distribution == BUILTIN:  # what another judge makes of the right label is its own affair
        yield "a success, although the victim gave the right label", success & right
    labels_seen = [clean["label"], clean["predicted"], rows["predicted"]]
    two_labels = max((int(column.max(initial=0)) for column in labels_seen), default=0) < 2
    # Of several copies or draws the loss is a mean; where more than two labels are, it may be of all wrong ones.
    if two_labels and not _votes(record):
        yield (
            "the right label, although the loss says that the proxy label is more likely",
            right & (loss < _MAX_TARGET_LOSS) & ~(draws > 1),
        )


def _votes(record: CellRecord) -> bool:
    """Whether a part of the defense has several copies of a prompt answered."""
    return record.defense_facts is not None and any(part.sort == "vote" for part in record.defense_facts.parts)


def verdicts_of(record: CellRecord, clean: SubmittedRows, steps: SubmittedRows) -> Iterator[tuple[int, int, bool]]:
    """Each combination of right label, predicted label and success in a cell's steps; none where answers are texts."""
    answered = steps["has_predicted"] & ~steps["has_failure"]
    if record.task_kind == "text" or not answered.any():
        return
    labels = _labels(clean)[steps.example]
    combinations = np.stack([labels, steps["predicted"], steps["success"]], axis=1)[answered]
    for label, predicted, success in np.unique(combinations, axis=0).tolist():
        yield int(label), int(predicted), bool(success)


def _labels(clean: SubmittedRows) -> Integers:
    """The right label of each example, -1 where none is listed."""
    labels = np.full(len(clean.names), -1)
    labels[clean.example] = clean["label"]
    return labels
