"""Verifying a submission: from its bytes to what its victim says today."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, error_text
from leaderboard.submission.as_run import as_run
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.submission import Submission, open_submission
from leaderboard.submission.verification.guard import inspect_guarded
from leaderboard.submission.verification.inspect import Inspection, Seen
from leaderboard.submission.verification.report import CheckResult, Report
from leaderboard.submission.verification.sample import draw

if TYPE_CHECKING:
    from harness.replay.replay import Preparer, Recorded, Replayed
    from harness.spec.load import LoadedSpec


@dataclass(frozen=True)
class Replaying:
    """How attack strings are put back.

    Attributes:
        count: how many.
        seed: with the hash of the file, which ones.
        preparer: gives what finds or makes the models of a spec of that name.
        begin: told what it will take: cells, strings, forecast.
        seen: told of each string.
    """

    count: int
    seed: int
    preparer: Callable[[str], Preparer]
    begin: Callable[[int, int, Any], None] = lambda _cells, _strings, _forecast: None
    seen: Callable[[Replayed], None] = lambda _: None


def verify(
    path: Path,
    registry: Any,
    spec: Path | None = None,
    replaying: Replaying | None = None,
    seen: Seen = lambda _done, _total: None,
) -> Report:
    """Check a submission or an entry; the checks after one that fails are made as far as they make sense.

    Args:
        registry: the plugins that its spec may name.
        spec: a spec file that it must be of; left out, its own counts, and that of the same name which comes with the
            project must be the same.
        seen: told how many cells have been checked, of how many.
    """
    report = Report(path)
    try:
        inspection = inspect_guarded(path, seen)
        submission = open_submission(path)
        if submission.hash != inspection.hash:
            raise RefusedError(f"{path}: was changed while it was read")
    except RefusedError as error:
        report.checks.append(CheckResult("file", "", [str(error)]))
        return report
    report.sha256 = submission.sha256
    report.checks += _of_records(submission, inspection)
    loaded = _spec_check(submission, registry, spec, report)
    if loaded is not None:
        _completeness(loaded, submission, inspection, report)
    if replaying is not None:
        report.checks.append(_replay_check(loaded, submission, replaying, report, held=spec is not None))
    return report


def _of_records(submission: Submission, found: Inspection) -> list[CheckResult]:
    records = CheckResult("records", "consistent in themselves", found.problems, found.notes, found.n_problems)
    if not records.passed:
        records.detail = ""
    checks = [CheckResult("file", f"{found.cells} cells, {found.rows} rows, all hashes as stated"), records]
    if records.passed:
        checks.append(CheckResult("standings", f"{found.tables} tables and their curves computed from the records"))
    return checks


def _spec_check(submission: Submission, registry: Any, given: Path | None, report: Report) -> LoadedSpec | None:
    """The spec, expanded here; None where that cannot be done."""
    from harness.replay.shipped_specs import differing_fields, shipped_spec
    from harness.spec.load import load_spec, read_spec

    run = submission.run
    check = CheckResult("spec")
    report.checks.append(check)
    try:
        own = read_spec(submission.spec, "spec.yaml", Path.cwd(), registry)
        held = None if given is None else load_spec(given, registry)
    except HarnessError as error:
        _fail(check, f"cannot be expanded here: {str(error)[:1000]}")
        return None
    if own.hash != run.spec_hash:
        _fail(
            check,
            f"its hash is {own.hash[:12]} here, and the submission says {run.spec_hash[:12]}: it was made with other "
            f"plugins or versions than those here (robustness-harness {run.harness_version}), or its text was changed",
        )
        return None
    if (own.spec.name, own.spec.version) != (run.spec_name, run.spec_version):
        _fail(check, f"calls itself {own.spec.name} {own.spec.version}, and the run {run.spec_name} {run.spec_version}")
        return None
    what = "is its own: neither given with --spec nor one that comes with the project"
    standard = held
    if held is not None:
        what = f"is {given}"
    elif (standard := shipped_spec(own.spec.name, own.spec.version, registry)) is not None:
        what = "is the one that comes with the project"
    if standard is not None and standard.hash != own.hash:
        fields = ", ".join(differing_fields(own, standard))
        whose = f"{given}" if held is not None else "the one of that name that comes with the project"
        _fail(check, f"{own.spec.name} {own.spec.version} is not {whose}: they differ in {fields}")
        return None
    if standard is None:
        check.notes.append(f"{own.spec.name} {own.spec.version} {what}; read it before you compare it with others")
    check.detail = f"{own.spec.name} {own.spec.version} ({own.hash[:12]}) {what}"
    return own if held is None else held


def _completeness(spec: LoadedSpec, submission: Submission, found: Inspection, report: Report) -> None:
    from harness.replay.expected_cells import completeness_problems
    from harness.replay.label_verdicts import verdict_on_label

    problems = [*completeness_problems(spec, submission.cells, found.listed)]
    cells = "" if problems else f"all {len(submission.cells)} cells of the spec, and no other"
    report.checks.append(CheckResult("completeness", cells, problems))
    problems, judged = [], 0
    for label, predicted, success, key in found.verdicts:
        should = verdict_on_label(spec, label, predicted)
        judged += should is not None
        if should is not None and should != success:
            problems.append(
                f"cell {key!a}: where label {label} is right, the answer {predicted} counts as a "
                f"{'success' if success else 'failure'}; the judge says otherwise"
            )
    if judged:
        detail = "" if problems else "every recorded answer judged again by its label"
        report.checks.append(CheckResult("verdicts", detail, problems))


def _replay_check(
    spec: LoadedSpec | None, submission: Submission, how: Replaying, report: Report, *, held: bool
) -> CheckResult:
    from harness.replay.expected_cells import cells_of_records
    from harness.replay.replay import forecast, replay
    from harness.replay.shipped_specs import shipped_spec

    check = CheckResult("replay")
    if spec is None or not report.verified:
        _fail(check, "not done: what comes before it has not passed")
        return check
    preparer = how.preparer(spec.spec.name)
    if not held and shipped_spec(spec.spec.name, spec.spec.version, preparer.resolver.registry) is None:
        # Its spec may name any file, address or model: none is touched on a stranger's word.
        _fail(check, "not done: its spec is the submitter's own. Read it, and give it with --spec FILE to replay it")
        return check
    drawn = draw(as_run(submission), how.count, submission.hash, how.seed)
    cells = cells_of_records(spec, submission.cells)
    strings: dict[str, list[Recorded]] = {}
    for each in drawn:
        strings.setdefault(each.record.key, []).append(_recorded(each))
    chosen = [(cells[key], own) for key, own in strings.items()]
    if not chosen:
        check.detail = "there is no string to be replayed"
        check.notes.append("attacks that change activations leave none")
        return check
    try:
        ahead = forecast([cell for cell, _ in chosen], len(drawn), preparer)
    except Exception as error:
        ahead = None
        check.notes.append(f"what it takes could not be told: {error_text(error)[:200]}")
    how.begin(len(chosen), len(drawn), ahead)
    results = replay(chosen, preparer, how.seen)
    problems = [
        f"cell {r.recorded.record.key!a}, example {r.recorded.example!a}, step {r.recorded.step}: {r.problem}"
        for r in results
        if r.problem
    ]
    agreed = sum(not r.problem and not r.close for r in results)
    apart = [r.loss_difference for r in results if r.loss_difference is not None]
    check = CheckResult(
        "replay", f"{agreed} of {len(results)} strings of {len(chosen)} cells: the same verdict", problems
    )
    check.detail += f"; losses differ by {max(apart):.2g} at most" if apart else ""
    check.detail += f" (drawn by the file's hash and seed {how.seed})"
    close = sum(r.close for r in results)
    if close:
        check.notes.append(
            f"{close} verdicts differ where the victim is undecided between two labels; they do not count"
        )
    return check


def _recorded(drawn: Any) -> Recorded:
    from harness.replay.replay import Recorded

    step = drawn.step
    names = ("example", "step", "attack_text", "success", "predicted", "answer", "loss", "judge_nominal")
    clean = {f"clean_{name}": drawn.clean[name] for name in ("predicted", "answer")}
    return Recorded(record=drawn.record, **{name: step[name] for name in names}, **clean)


def _fail(check: CheckResult, problem: str) -> None:
    check.problems.append(problem)
    check.count += 1
