"""A claim against the entry that it names: the same spec, row, victims and attacked examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.records.read import Cell
from leaderboard.others.claims import setting_of
from leaderboard.submission.claims.claim_spec import row_labels, spec_of_claim
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.file_format.manifest import ClaimInfo
from leaderboard.submission.run_of_submission import as_run
from leaderboard.submission.submission import ENTRY_SUFFIX, Submission
from leaderboard.submission.verification.report import CheckResult
from leaderboard.submission.verification.sandbox import open_inspected

if TYPE_CHECKING:
    from harness.spec.load import LoadedSpec


def entry_of_claim(claim: ClaimInfo, entries: Path) -> Submission:
    """The entry that a claim names, checked as a stranger's file.

    Raises:
        RefusedError: it is not in the folder, or cannot be taken.
    """
    path = entries / f"{claim.entry}{ENTRY_SUFFIX}"
    if not path.is_file():
        raise RefusedError(f"{path}: missing; the claim is made against this entry. Give its folder with --entries.")
    entry, inspection = open_inspected(path)
    if inspection.problems:
        raise RefusedError(f"{path}: {inspection.problems[0]}")
    return entry


def claim_check(
    submission: Submission, entry: Submission, standard: LoadedSpec, registry: Any
) -> tuple[CheckResult, LoadedSpec | None]:
    """The check of a claim against its entry, and the spec that it is a run of; None where there is none.

    Args:
        standard: the spec of the entry, as the reader has it.
    """
    claim, check = submission.claim, CheckResult("claim")
    assert claim is not None
    try:
        spec = spec_of_claim(standard, claim, registry)
    except HarnessError as error:
        check.fail(f"the entry's spec makes no such row: {str(error)[:1000]}")
        return check, None
    run = submission.run
    if claim.entry_spec != standard.hash:
        check.fail(f"it is made against spec {claim.entry_spec[:12]}, and {claim.entry} is of {standard.hash[:12]}")
    if (run.spec_name, run.spec_version) != (standard.spec.name, standard.spec.version):
        check.fail("its spec has another name or version than the entry's")
    if (run.spec_hash, submission.spec) != (spec.hash, spec.text):
        check.fail("its spec is not the entry's with the given strings in the place of the attacks")
        return check, None
    cells, of_entry = list(as_run(submission)), list(as_run(entry))
    for problem in _cell_problems(cells, of_entry, claim):
        check.fail(problem)
    check.notes += _other_examples(cells, of_entry)
    if check.passed:
        check.detail = f"against {claim.entry}: {row_labels(submission.cells[0])}"
    return check, spec


def _cell_problems(cells: Sequence[Cell], of_entry: Sequence[Cell], claim: ClaimInfo) -> Iterator[str]:
    settings = {setting_of(cell.record): cell for cell in of_entry}
    attacked: set[str] = set()
    for cell in cells:
        known = settings.get(setting_of(cell.record))
        if known is None:
            yield (
                f"cell {cell.record.key!a}: the entry has no cell of this data, victim, defense, threat model, judge "
                "and seed"
            )
        else:
            attacked |= _attacked(known)
    for example in sorted(set(claim.examples) - attacked)[:1]:
        yield f"example {example!a:.80} was not attacked in the entry"


def _other_examples(cells: Sequence[Cell], of_entry: Sequence[Cell]) -> Iterator[str]:
    """Where a clean answer came out otherwise, so that more or fewer examples were attacked than in the entry: these
    count for nothing.
    """
    settings = {setting_of(cell.record): cell for cell in of_entry}
    for cell in cells:
        known = settings.get(setting_of(cell.record))
        if known is not None and (differ := _attacked(known) ^ _attacked(cell)):
            yield f"cell {cell.record.key!a}: {len(differ)} examples were attacked in it or in the entry, not in both"


def _attacked(cell: Cell) -> set[str]:
    listed = cell.examples(["example", "attacked"])
    pairs = zip(listed.column("example").to_pylist(), listed.column("attacked").to_pylist(), strict=True)
    return {example for example, attacked in pairs if attacked}
