"""Verifying a submission: from its bytes to what its victim says today."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from leaderboard.submission.claims.claim_check import claim_check, entry_of_claim
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.file_format.limits import MAX_LISTED
from leaderboard.submission.submission import Submission
from leaderboard.submission.verification.inspection import Inspection, Progress
from leaderboard.submission.verification.replay_check import ReplayOptions, replay_check
from leaderboard.submission.verification.report import CheckResult, Report
from leaderboard.submission.verification.sandbox import open_inspected
from leaderboard.table_numbers import counted

if TYPE_CHECKING:
    from harness.spec.load import LoadedSpec


def verify_submission(
    path: Path,
    registry: Any,
    spec: Path | None = None,
    replay: ReplayOptions | None = None,
    progress: Progress = lambda _done, _total: None,
    *,
    written_anew: bool = False,
    entries: Path | None = None,
) -> Report:
    """Check a submission or an entry; the checks after one that fails are made as far as they make sense.

    Args:
        registry: the plugins that its spec may name.
        spec: a spec file that it must be of; left out, its own counts, and that of the same name which comes with the
            project must be the same.
        replay: put strings back through the victim, and how.
        progress: told how many cells have been checked, of how many.
        entries: folder with the entry that a claim is made against; left out, the folder entries next to the claim's.
        written_anew: what was read is written again: bytes of an entry that no reader shows are no matter.
    """
    report = Report(path)
    try:
        submission, inspection = open_inspected(path, progress)
    except RefusedError as error:
        report.checks.append(CheckResult("file", "", [str(error)]))
        return report
    report.sha256, report.read_sha256 = submission.sha256, submission.read_sha256
    report.checks += _inspection_checks(inspection, written_anew=written_anew)
    if submission.claim is None:
        spec_check, loaded, is_own = _spec_check(submission, registry, spec)
        report.checks.append(spec_check)
    else:
        checks, loaded, is_own = _claim_checks(submission, registry, spec, entries or path.parent.parent / "entries")
        report.checks += checks
    if loaded is not None:
        report.spec = ("own" if is_own else "shipped" if spec is None else "given"), loaded.hash
        submission = _by_installed_release(submission, registry)
        report.checks += _completeness_checks(loaded, submission, inspection, is_own=is_own)
    if replay is not None:
        passed = loaded if report.verified else None
        check, report.replayed = replay_check(passed, submission, replay, registry, is_own=is_own)
        report.checks.append(check)
    return report


def _inspection_checks(found: Inspection, *, written_anew: bool) -> list[CheckResult]:
    records = CheckResult("records", "consistent in themselves", found.problems, found.notes, found.n_problems)
    if not records.passed:
        records.detail = ""
    file = CheckResult("file", f"{counted(found.cells, 'cell')}, {counted(found.rows, 'row')}, all hashes as stated")
    for form in (found.hidden, found.unknown_form):
        if form and not written_anew:
            file.fail(form)
    checks = [file, records]
    if records.passed:
        checks.append(
            CheckResult("standings", f"{counted(found.tables, 'table')}, with curves, computed from the records")
        )
    return checks


def standard_spec(submission: Submission, registry: Any, given: Path | None) -> LoadedSpec:
    """The spec that a verified submission is held against, which may be run.

    Raises:
        RefusedError: there is none, or it is the submitter's own: it may name any file, address or model.
    """
    check, standard, is_own = _spec_check(submission, registry, given)
    if standard is None:
        raise RefusedError(f"{submission.path}: {check.problems[0]}")
    if is_own:
        raise RefusedError(
            f"{submission.path}: its spec is the submitter's own, and may name any file, address or model. Read it, "
            "and give it with --spec FILE to run it."
        )
    return standard


def _claim_checks(
    submission: Submission, registry: Any, given: Path | None, entries: Path
) -> tuple[list[CheckResult], LoadedSpec | None, bool]:
    """The checks of a claim's spec, with the spec of the claim (None where there is none), and whether the entry's is
    its submitter's own: as `_spec_check` of the entry, and the claim against that.
    """
    assert submission.claim is not None
    try:
        entry = entry_of_claim(submission.claim, entries)
    except RefusedError as error:
        return [CheckResult("claim", "", [str(error)])], None, True
    spec_check, standard, is_own = _spec_check(entry, registry, given)
    if standard is None:
        return [spec_check], None, True
    check, loaded = claim_check(submission, entry, standard, registry)
    return [spec_check, check], loaded, is_own


def _spec_check(
    submission: Submission, registry: Any, given: Path | None
) -> tuple[CheckResult, LoadedSpec | None, bool]:
    """The check, the spec that all else is held against (None where there is none), and whether that is the
    submitter's own.

    It is the reader's own wherever there is one: the submitter's has the same hash, and may name other addresses, files
    and settings, which are no part of that.
    """
    from harness.replay.by_spec.shipped_specs import differing_fields, shipped_spec
    from harness.spec.load import load_spec, read_spec

    run = submission.run
    check = CheckResult("spec")
    try:
        submitted = read_spec(submission.spec, "spec.yaml", Path.cwd(), registry, run.plain_folders)
        of_reader = None if given is None else load_spec(given, registry)
    except HarnessError as error:
        check.fail(f"cannot be expanded here: {str(error)[:1000]}")
        return check, None, True
    if submitted.hash != run.spec_hash:
        check.fail(
            f"its hash is {submitted.hash[:12]} here, and the submission says {run.spec_hash[:12]}: it was made with "
            f"other plugins or versions than those here (robustness-harness {run.harness_version}), a file that its "
            "judge or a defense names is missing or different here, or its text was changed"
        )
        return check, None, True
    name = f"{submitted.spec.name} {submitted.spec.version}"
    if (submitted.spec.name, submitted.spec.version) != (run.spec_name, run.spec_version):
        check.fail(f"calls itself {name}, but the run {run.spec_name} {run.spec_version}")
        return check, None, True
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
        return check, None, True
    check.detail = f"{name} ({submitted.hash[:12]}) {origin}"
    return check, standard or submitted, standard is None


def _by_installed_release(submission: Submission, registry: Any) -> Submission:
    from harness.replay.by_spec.same_numbers import as_installed

    return replace(submission, cells=tuple(as_installed(record, registry) for record in submission.cells))


def _completeness_checks(
    spec: LoadedSpec, submission: Submission, found: Inspection, *, is_own: bool
) -> list[CheckResult]:
    from harness.replay.by_spec.expected_cells import completeness_problems, fewer_clean_examples
    from harness.replay.by_spec.label_verdicts import verdict_on_label
    from harness.replay.by_spec.task_sizes import task_sizes

    sizes = task_sizes(spec, load=not is_own)
    problems = [*completeness_problems(spec, submission.cells, found.examples, sizes)]
    count = len(submission.cells)
    cells = "" if problems else f"{'the one cell' if count == 1 else f'all {count} cells'} of the spec, and no other"
    checks = [
        CheckResult(
            "completeness", cells, problems, [*fewer_clean_examples(spec.spec.clean_examples, submission.cells, sizes)]
        )
    ]
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
    return [*checks, _costs_check(spec, submission, found)]


def _costs_check(spec: LoadedSpec, submission: Submission, found: Inspection) -> CheckResult:
    """Queries and FLOPs of attacks against what a dry run of their steps asks for."""
    from harness.replay.by_spec.attack_costs import RecordedCosts, attack_cost_problems
    from harness.replay.by_spec.expected_cells import cells_of_records

    check = CheckResult("attack costs", "queries and FLOPs of attacks are what their parameters make them")
    cells = cells_of_records(spec, submission.cells)
    for record in submission.cells:
        if record.key in cells and record.key in found.costs:
            costs = RecordedCosts(**found.costs[record.key])
            for certain, what in attack_cost_problems(cells[record.key], record, costs):
                line = f"cell {record.key!a}: {what}"
                if certain:
                    check.fail(line)
                elif len(check.notes) < MAX_LISTED:
                    check.notes.append(line)
    if not check.passed or check.notes:
        check.detail = ""
    return check


def _verdicts_check(problems: list[str], unjudged: int, recorded: int) -> CheckResult:
    """The check of verdicts by label; ``unjudged`` of the ``recorded`` sorts of verdict depend on more than labels."""
    if not unjudged:
        return CheckResult("verdicts", "" if problems else "every recorded answer judged again by its label", problems)
    detail = f"{recorded - unjudged} of {recorded} kinds of recorded answer judged again by their label"
    note = "the judge looks at more than labels, so that only --replay asks it about the other answers"
    return CheckResult("verdicts", "" if problems else detail, problems, [note])
