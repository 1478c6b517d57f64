"""Entries of a leaderboard: a verified submission as two files that can be read in a pull request."""

from __future__ import annotations

from pathlib import Path

from harness.errors import DataError
from harness.store.atomic import write_file
from leaderboard.submission.as_run import as_run
from leaderboard.submission.file_format.limits import FORMAT
from leaderboard.submission.file_format.manifest import file_digest
from leaderboard.submission.file_format.records_table import cell_rows, to_parquet
from leaderboard.submission.pack import readable_json
from leaderboard.submission.submission import ENTRY_RECORDS_SUFFIX, ENTRY_SUFFIX, Submission


def entry_name(submission: Submission) -> str:
    """Name of the entry's files, without ending: from the spec, and from the hash of the submission."""
    return f"{submission.run.spec_name}-{submission.run.spec_version}-{submission.sha256[:12]}"


def write_entry(submission: Submission, folder: Path) -> Path:
    """Write the entry of a verified submission, table first; the JSON makes it count. Gives the path of the JSON.

    Both files are written anew from what was read, so that none of the submitter's bytes but the checked ones get into
    the folder.

    Raises:
        DataError: the folder cannot be written.
    """
    records = to_parquet(cell_rows(cell.record.key, cell.examples(), cell.steps()) for cell in as_run(submission))
    entry = {
        "format": FORMAT,
        "what": "robustness-harness entry",
        "submission": submission.sha256,
        "run": submission.run.model_dump(mode="json"),
        "rows": submission.rows,
        "table": file_digest(records).model_dump(),
        "spec": submission.spec.split("\n"),
        "cells": [record.model_dump(mode="json") for record in submission.cells],
    }
    path = folder / f"{entry_name(submission)}{ENTRY_SUFFIX}"
    try:
        write_file(path.with_suffix(ENTRY_RECORDS_SUFFIX), lambda temporary: temporary.write_bytes(records))
        write_file(path, lambda temporary: temporary.write_bytes(readable_json(entry)))
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror or error}). Give another --entries.") from None
    return path
