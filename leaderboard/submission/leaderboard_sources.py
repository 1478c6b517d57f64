"""What the leaderboard is built of: run directories, submissions, entries, and folders of entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import DataError
from harness.records.read import Run, is_run, read_run
from leaderboard.submission.as_run import as_run
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.submission import ENTRY_SUFFIX
from leaderboard.submission.verification.sandbox import open_inspected

_SUBMISSION_SUFFIXES = (ENTRY_SUFFIX, ".zip")


def read_sources(paths: Sequence[Path]) -> list[Run]:
    """The runs in all of ``paths``. What is no run directory is a stranger's file, and checked before it is read.

    Raises:
        DataError: one is nothing of the kind, cannot be read, or has records that cannot be; names it.
    """
    return [run for path in paths for run in _runs(path)]


def _runs(path: Path) -> Iterator[Run]:
    if path.is_dir() and not is_run(path):
        entries = sorted(path.glob(f"*{ENTRY_SUFFIX}"))
        if not entries:
            raise DataError(
                f"{path}: neither a run directory (run.json is missing) nor a folder of entries (*{ENTRY_SUFFIX}). "
                "Give the folder that `harness run` or `harness leaderboard add` wrote."
            )
        for entry in entries:
            yield _submitted_run(entry)
    elif path.suffix in _SUBMISSION_SUFFIXES and not path.is_dir():
        yield _submitted_run(path)
    else:
        yield read_run(path)


def _submitted_run(path: Path) -> Run:
    submission, inspection = open_inspected(path)
    if inspection.problems:
        raise RefusedError(f"{path}: {inspection.problems[0]}. `harness leaderboard verify {path}` says all.")
    return as_run(submission)
