"""Verifying a submission: from its bytes to what its victim says today."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, error_text
from leaderboard.submission.as_run import as_run
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.submission import Submission
from leaderboard.submission.verification.inspection import Inspection, Progress
from leaderboard.submission.verification.report import CheckResult, Report
from leaderboard.submission.verification.sample import Sample, draw_sample
from leaderboard.submission.verification.sandbox import open_inspected

if TYPE_CHECKING:
    from harness.replay.recorded import ReplayedCell
    from harness.replay.view import ReplayView
    from harness.spec.load import LoadedSpec


AS_SUBMITTED = (
    "what no replay finds: how the attacks searched, their queries and FLOPs, certificates, diagnostics, seconds and "
    "executed FLOPs"
)
"""What stands on a page as it was submitted, whatever has been replayed."""


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


def verify_submission(
    path: Path,
    registry: Any,
    spec: Path | None = None,
    replay: ReplayOptions | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Report:
    """Check a submission or an entry; the checks after one that fails are made as far as they make sense.

    Args:
        registry: the plugins that its spec may name.
        spec: a spec file that it must be of; left out, its own counts, and that of the same name which comes with the
            project must be the same.
        replay: put strings back through the victim, and how.
        progress: told how many cells have been checked, of how many.
    """
    report = Report(path)
    try:
        submission, inspection = open_inspected(path, progress)
    except RefusedError as error:
        report.checks.append(CheckResult("file", "", [str(error)]))
        return report
    report.sha256 = submission.sha256
    report.checks += _inspection_checks(inspection)
    spec_check, loaded = _spec_check(submission, registry, spec)
    report.checks.append(spec_check)
    if loaded is not None:
        report.checks += _completeness_checks(loaded, submission, inspection)
    if replay is not None:
        passed = loaded if report.verified else None
        report.checks.append(_replay_check(passed, submission, replay, registry, spec_is_given=spec is not None))
    return report


def _inspection_checks(found: Inspection) -> list[CheckResult]:
    records = CheckResult("records", "consistent in themselves", found.problems, found.notes, found.n_problems)
    if not records.passed:
        records.detail = ""
    checks = [CheckResult("file", f"{found.cells} cells, {found.rows} rows, all hashes as stated"), records]
    if records.passed:
        checks.append(CheckResult("standings", f"{found.tables} tables and their curves computed from the records"))
    return checks


def _spec_check(submission: Submission, registry: Any, given: Path | None) -> tuple[CheckResult, LoadedSpec | None]:
    """The check, and the spec expanded here; None where that cannot be done."""
    from harness.replay.shipped_specs import differing_fields, shipped_spec
    from harness.spec.load import load_spec, read_spec

    run = submission.run
    check = CheckResult("spec")
    try:
        submitted = read_spec(submission.spec, "spec.yaml", Path.cwd(), registry)
        of_reader = None if given is None else load_spec(given, registry)
    except HarnessError as error:
        check.fail(f"cannot be expanded here: {str(error)[:1000]}")
        return check, None
    if submitted.hash != run.spec_hash:
        check.fail(
            f"its hash is {submitted.hash[:12]} here, and the submission says {run.spec_hash[:12]}: it was made with "
            f"other plugins or versions than those here (robustness-harness {run.harness_version}), a file that its "
            "judge or a defense names is missing or another here, or its text was changed"
        )
        return check, None
    name = f"{submitted.spec.name} {submitted.spec.version}"
    if (submitted.spec.name, submitted.spec.version) != (run.spec_name, run.spec_version):
        check.fail(f"calls itself {name}, and the run {run.spec_name} {run.spec_version}")
        return check, None
    standard: LoadedSpec | None
    if of_reader is not None:
        standard, origin, standard_name = of_reader, f"is {given}", f"{given}"
    else:
        standard = shipped_spec(submitted.spec.name, submitted.spec.version, registry)
        origin = "is the one that comes with the project"
        standard_name = "the one of that name that comes with the project"
    if standard is None:
        origin = "is its own: neither given with --spec nor one that comes with the project"
        check.notes.append(f"{name} {origin}; read it before you compare it with others")
    elif standard.hash != submitted.hash:
        fields = ", ".join(differing_fields(submitted, standard))
        check.fail(f"{name} is not {standard_name}: they differ in {fields}")
        return check, None
    check.detail = f"{name} ({submitted.hash[:12]}) {origin}"
    return check, submitted if of_reader is None else of_reader


def _completeness_checks(spec: LoadedSpec, submission: Submission, found: Inspection) -> list[CheckResult]:
    from harness.replay.expected_cells import completeness_problems
    from harness.replay.label_verdicts import verdict_on_label

    problems = [*completeness_problems(spec, submission.cells, found.examples)]
    cells = "" if problems else f"all {len(submission.cells)} cells of the spec, and no other"
    checks = [CheckResult("completeness", cells, problems)]
    problems, unjudged = [], 0
    for label, predicted, success, key in found.verdicts:
        expected = verdict_on_label(spec, label, predicted)
        unjudged += expected is None
        if expected is not None and expected != success:
            problems.append(
                f"cell {key!a}: where label {label} is right, the answer {predicted} counts as a "
                f"{'success' if success else 'failure'}; the judge says otherwise"
            )
    if found.verdicts:
        checks.append(_verdicts_check(problems, unjudged, len(found.verdicts)))
    return checks


def _verdicts_check(problems: list[str], unjudged: int, recorded: int) -> CheckResult:
    """The check of verdicts by label; ``unjudged`` of the ``recorded`` sorts of verdict depend on more than labels."""
    if not unjudged:
        return CheckResult("verdicts", "" if problems else "every recorded answer judged again by its label", problems)
    detail = f"{recorded - unjudged} of {recorded} sorts of recorded answer judged again by their label"
    note = "the judge looks at more than labels, so that only --replay asks it about the other answers"
    return CheckResult("verdicts", "" if problems else detail, problems, [note])


def _replay_check(
    spec: LoadedSpec | None, submission: Submission, options: ReplayOptions, registry: Any, *, spec_is_given: bool
) -> CheckResult:
    from harness.replay.expected_cells import cells_of_records
    from harness.replay.replay import forecast, replay
    from harness.replay.shipped_specs import shipped_spec
    from harness.replay.view import preparer_for

    check = CheckResult("replay")
    if spec is None:
        check.fail("not done: what comes before it has not passed")
        return check
    if not spec_is_given and shipped_spec(spec.spec.name, spec.spec.version, registry) is None:
        # Its spec may name any file, address or model: none is touched on a stranger's word.
        check.fail("not done: its spec is the submitter's own. Read it, and give it with --spec FILE to replay it")
        return check
    sample = draw_sample(
        as_run(submission),
        cells_of_records(spec, submission.cells),
        options.count,
        submission.read_sha256,
        options.seed,
    )
    if not sample.cells:
        check.detail = "there is no string to be replayed"
        check.notes.append("attacks that change activations leave none")
        return check
    store = options.store or Path("runs") / spec.spec.name / "artifacts"
    preparer = preparer_for(registry, store, options.view)
    try:
        estimate = forecast(sample.cells, preparer)
    except Exception as error:
        estimate = None
        check.notes.append(f"what it takes could not be told: {error_text(error)[:200]}")
    options.view.begin(len(sample.cells), sample.strings, estimate)
    results = replay(sample.cells, preparer, lambda string: options.view.string(string.problem))
    return _replay_result(sample, results, options.seed, check.notes)


def _replay_result(sample: Sample, results: Sequence[ReplayedCell], seed: int, notes: list[str]) -> CheckResult:
    """What a replay has found, and what it has not looked at, in words."""
    problems = [f"cell {cell.record.key!a}: {problem}" for cell in results for problem in cell.problems]
    strings = [string for cell in results for string in cell.strings]
    problems += [
        f"cell {s.record.key!a}, example {s.recorded.example!a}, step {s.recorded.step}: {s.problem}"
        for s in strings
        if s.problem
    ]
    agreed = sum(not string.problem and not string.close for string in strings)
    differences = [string.loss_difference for string in strings if string.loss_difference is not None]
    detail = f"{agreed} of {sample.strings} strings of {len(results)} cells: the same verdict"
    detail += f"; losses differ by {max(differences):.2g} at most" if differences else ""
    detail += f"; {sum(cell.clean_prompts for cell in results):,} clean prompts asked again"
    detail += f" (drawn by the file's hash and seed {seed}, in each of {sample.rows} rows of the standings)"
    close = sum(string.close for string in strings) + sum(cell.undecided for cell in results)
    if close:
        notes.append(f"{close} answers where the victim is undecided between two labels, which do not count")
    left_out = sample.recorded_strings - sample.strings
    notes.append(
        f"not looked at: {left_out:,} of {sample.recorded_strings:,} strings, {sample.all_cells - len(results)} of "
        f"{sample.all_cells} cells, and {AS_SUBMITTED}"
    )
    return CheckResult("replay", detail, problems, notes)
