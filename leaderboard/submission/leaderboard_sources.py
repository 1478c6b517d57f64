"""What the leaderboard is built of: run directories, which are taken as they are, and submissions and entries, which
are checked. Which of the two a path is, the caller says: never what lies in a folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import DataError
from harness.records.read import Run, is_run, read_run
from leaderboard.data.count_table_of_run import Source
from leaderboard.others.errata import read_errata
from leaderboard.others.of_rows import Others, declared_of
from leaderboard.others.reruns import separate_reruns
from leaderboard.submission.claims.read_claims import read_claims
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.run_of_submission import as_run
from leaderboard.submission.submission import ENTRY_SUFFIX
from leaderboard.submission.verification.sandbox import open_inspected, refuse_unsound
from leaderboard.submission.verification_record import VerificationRecord, read_verifications

_SUBMISSION_SUFFIXES = (ENTRY_SUFFIX, ".zip")


@dataclass(frozen=True)
class Sources:
    """What was read.

    Attributes:
        runs: without the cells that another submitter submitted before.
        others: what others say of their rows.
        refused: why each submission or entry that was left out cannot be taken.
    """

    runs: list[Run]
    refused: list[str]
    others: Others = field(default_factory=Others)

    @property
    def unknown_errata(self) -> list[str]:
        """What errata name and is not there, in words."""
        specs = {f"{run.info.get('spec_name')} {run.info.get('spec_version')}" for run in self.runs}
        names = {"entry": {run.path.stem for run in self.runs}, "spec": specs}
        names["claim"] = {claim.name for claim in self.others.claims}
        known = {f"{kind} {name}" for kind, of_kind in names.items() for name in of_kind}
        return [note.about for note in self.others.errata if note.about not in known]


def read_sources(
    paths: Sequence[Path],
    entries: Sequence[Path] = (),
    verified: Path | None = None,
    claims: Path | None = None,
    errata: Path | None = None,
) -> Sources:
    """The runs in all of ``paths`` and ``entries``. A submission or entry that is refused is left out.

    Args:
        paths: run directories, and files of submissions and entries.
        entries: folders of entries, of which every JSON file is one.
        claims: folder of claims, of which every JSON file is one.
        errata: file of notes on entries, claims and specs.
        verified: folder of what the reader has found about submissions and entries; see `verification_record`.

    Raises:
        DataError: none is given or left, or a path is nothing of the kind, or holds records that cannot be read; names
            it.
    """
    if not paths and not entries:
        raise DataError("Nothing to read. Give run directories or submissions, or a folder of entries with --entries.")
    verifications = read_verifications(verified)
    runs: list[Run] = []
    refused: list[str] = []
    for path in [*paths, *(file for folder in entries for file in _files_of_entries(folder))]:
        if path.suffix not in _SUBMISSION_SUFFIXES or (path.is_dir() and path in paths):
            runs.append(_own_run(path))
            continue
        try:
            runs.append(_submitted_run(path, verifications))
        except RefusedError as error:
            refused.append(str(error))
    if not runs:
        raise DataError(refused[0])
    notes = read_errata(errata)
    found, left_out = read_claims(claims, verifications, notes)
    declared = declared_of(runs, Path.cwd())
    runs, again = separate_reruns(runs)
    others = Others(tuple(found), tuple(again), notes, declared)
    return Sources(runs, [*refused, *left_out], others)


def read_one(path: Path) -> Run:
    """The run in one path, as `read_sources` takes it. Raises `DataError` also where a submission is refused."""
    return read_sources([path]).runs[0]


def read_run_or_table(path: Path) -> Source:
    """The run in a run directory, submission or entry; of any other path, which a count table is read from, itself."""
    return read_one(path) if is_run(path) or path.suffix in _SUBMISSION_SUFFIXES else path


def _files_of_entries(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Give the one that `harness leaderboard add` wrote to.")
    files = sorted(folder.glob(f"*{ENTRY_SUFFIX}"))
    if not files:
        raise DataError(
            f"{folder}: holds no entry (*{ENTRY_SUFFIX}). Give the folder `harness leaderboard add` wrote to."
        )
    yield from files


def _own_run(path: Path) -> Run:
    if path.is_dir() and not is_run(path) and any(path.glob(f"*{ENTRY_SUFFIX}")):
        raise DataError(f"{path}: not a run directory, run.json is missing. Give a folder of entries with --entries.")
    if any(file.with_suffix(ENTRY_SUFFIX).is_file() for file in path.glob("*.parquet")):
        raise DataError(
            f"{path}: holds entries as well as a run.json. Give --entries to read these, or move them away."
        )
    return read_run(path)


def _submitted_run(path: Path, verifications: Mapping[str, VerificationRecord]) -> Run:
    submission, inspection = open_inspected(path)
    if submission.claim is not None:
        raise RefusedError(f"{path}: is a claim, not an entry. Give its folder with --claims.")
    refuse_unsound(path, inspection)
    return as_run(submission, verifications.get(submission.read_sha256))
