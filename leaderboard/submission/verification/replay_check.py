"""The replay of a submission: what is asked again, what is compared, and what is not looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import error_text
from harness.records.visible_text import file_name
from leaderboard.submission.run_of_submission import as_run
from leaderboard.submission.submission import Submission
from leaderboard.submission.verification.drawn_counts import drawn_count_problems
from leaderboard.submission.verification.report import NEVER_REPLAYED, CheckResult
from leaderboard.submission.verification.sample import Sample, draw_sample
from leaderboard.submission.verification_record import Replay
from leaderboard.table_numbers import counted

if TYPE_CHECKING:
    from harness.replay.recorded import ReplayedCell
    from harness.replay.replay_progress import ReplayView
    from harness.spec.load import LoadedSpec


@dataclass(frozen=True)
class ReplayOptions:
    """How attack strings are put back.

    Attributes:
        count: how many strings of each row of the standings.
        seed: with the hash of the file, which ones.
        store: where the models are, or are made; None: where `harness run` of the same spec keeps them.
        view: told what it will take, and of each string.
    """

    count: int
    seed: int
    store: str | None
    view: ReplayView


def replay_check(
    spec: LoadedSpec | None, submission: Submission, options: ReplayOptions, registry: Any, *, is_own: bool
) -> tuple[CheckResult, Replay | None]:
    """The check, and what was asked; None where that is nothing."""
    from harness.replay.by_spec.expected_cells import cells_of_records
    from harness.replay.replay import forecast, replay
    from harness.replay.replay_progress import preparer_for

    check = CheckResult("replay")
    if spec is None:
        check.fail("not done: what comes before it has not passed")
        return check, None
    if is_own:
        # Its spec may name any file, address or model: none is touched on a stranger's word.
        check.fail("not done: its spec is the submitter's own. Read it, and give it with --spec FILE to replay it")
        return check, None
    sample = draw_sample(
        as_run(submission),
        cells_of_records(spec, submission.cells),
        options.count,
        submission.read_sha256,
        options.seed,
    )
    store = options.store or Path("runs") / file_name(spec.spec.name) / "artifacts"
    preparer = preparer_for(registry, store, options.view)
    try:
        estimate = forecast(sample.cells, preparer)
    except Exception as error:
        estimate = None
        check.notes.append(f"what it takes could not be estimated: {error_text(error)[:200]}")
    options.view.begin(len(sample.cells), sample.strings, estimate)
    results = replay(sample.cells, preparer, lambda string: options.view.string(string.problem))
    replayed = Replay(per_row=options.count, seed=options.seed, rows=list(sample.rows))
    return _replay_result(sample, results, options.seed, check.notes), replayed


def _replay_result(sample: Sample, results: Sequence[ReplayedCell], seed: int, notes: list[str]) -> CheckResult:
    """What a replay has found, and what it has not looked at, in words."""
    problems = [f"cell {cell.record.key!a}: {problem}" for cell in results for problem in cell.problems]
    strings = [string for cell in results for string in cell.strings]
    problems += [
        f"cell {s.record.key!a}, example {s.recorded.example!a}, step {s.recorded.step}: {s.problem}"
        for s in strings
        if s.problem
    ]
    problems += drawn_count_problems(strings)
    drawn = sum(string.drawn is not None for string in strings)
    agreed = sum(not string.problem and not string.close for string in strings)
    differences = [string.loss_difference for string in strings if string.loss_difference is not None]
    detail = f"{agreed} of {counted(sample.strings, 'string')} of {counted(len(results), 'cell')}: "
    detail += "as recorded" if drawn else "the same verdict"
    detail += f"; losses differ by {max(differences):.2g} at most" if differences else ""
    detail += f"; {counted(sum(cell.clean_prompts for cell in results), 'clean prompt')} asked again"
    detail += f" (drawn by the file's hash and seed {seed}, in {counted(len(sample.rows), 'row')} of the standings)"
    close = sum(string.close for string in strings) + sum(cell.undecided for cell in results)
    if close:
        notes.append(f"{counted(close, 'answer')} on which the victim is undecided between two labels: not counted")
    if drawn:
        notes.append(
            f"{drawn} strings have drawn answers, which other hardware draws differently: their tokens, text and loss "
            "were compared one by one, and how many answers are broken over all strings of a row; texts and verdicts "
            "of single answers were not"
        )
    if not sample.strings:
        notes.append("there is no string to replay: nothing was attacked, or only activations, which leave none")
    left_out = sample.recorded_strings - sample.strings
    notes.append(
        f"not checked: {left_out:,} of {counted(sample.recorded_strings, 'string')}, "
        f"{sample.all_cells - len(results)} of {counted(sample.all_cells, 'cell')}, and {NEVER_REPLAYED}"
    )
    return CheckResult("replay", detail, problems, notes)
