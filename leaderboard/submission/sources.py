"""What the leaderboard is built of: run directories, submissions, entries, and folders of entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import DataError
from harness.records.read import Run, is_run, read_run
from leaderboard.submission.as_run import as_run
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.submission import ENTRY_ENDING, open_submission
from leaderboard.submission.verification.guard import inspect_guarded

_ENDINGS = (ENTRY_ENDING, ".zip")


def read_sources(paths: Sequence[Path]) -> list[Run]:
    """The runs in all of ``paths``. What is no run directory is a stranger's file, and checked before it is read.

    Raises:
        DataError: one is nothing of the kind, cannot be read, or has records that cannot be; names it.
    """
    return [run for path in paths for run in _runs(path)]


def _runs(path: Path) -> Iterator[Run]:
    if path.is_dir() and not is_run(path):
        entries = sorted(path.glob(f"*{ENTRY_ENDING}"))
        if not entries:
            raise DataError(
                f"{path}: neither a run directory (run.json is missing) nor a folder of entries (*{ENTRY_ENDING}). "
                "Give the folder that `harness run` or `harness leaderboard add` wrote."
            )
        for entry in entries:
            yield _checked(entry)
    elif path.suffix in _ENDINGS and not path.is_dir():
        yield _checked(path)
    else:
        yield read_run(path)


def _checked(path: Path) -> Run:
    found = inspect_guarded(path)
    if found.problems:
        raise RefusedError(f"{path}: {found.problems[0]}. `harness leaderboard verify {path}` says all.")
    submission = open_submission(path)
    if submission.hash != found.hash:
        raise RefusedError(f"{path}: was changed while it was read")
    return as_run(submission)
