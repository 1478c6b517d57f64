"""Entries of a leaderboard: a verified submission as two files that can be read in a pull request."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import DataError
from harness.records.visible_text import file_name
from harness.store.atomic import write_file
from leaderboard.submission.file_format.limits import FORMAT
from leaderboard.submission.file_format.manifest import file_digest
from leaderboard.submission.file_format.records_table import cell_rows, to_parquet
from leaderboard.submission.pack import readable_json
from leaderboard.submission.run_of_submission import as_run
from leaderboard.submission.submission import CLAIM, ENTRY_RECORDS_SUFFIX, ENTRY_SUFFIX, Submission


def entry_name(submission: Submission, content_sha256: str) -> str:
    """Name of the entry's files, without ending: from the spec, and from the hash of what the entry holds."""
    kind = "" if submission.claim is None else "claim-"
    return f"{kind}{file_name(submission.run.spec_name)}-{submission.run.spec_version}-{content_sha256[:12]}"


def write_entry(submission: Submission, folder: Path) -> Path:
    """Write the entry of a verified submission, or a claim, table first; the JSON makes it count. Gives the path of the
    JSON.

    Both files are written again from what was read, so that none of the submitter's bytes but the checked ones get into
    the folder; named by what they hold, so that no name can be claimed.

    Raises:
        DataError: the folder cannot be written, or a file of that name holds something else.
    """
    rows = (cell_rows(cell.record.key, cell.examples(), cell.steps()) for cell in as_run(submission))
    records = to_parquet(rows, drawn=any(record.samples for record in submission.cells))
    held: dict[str, Any] = {
        "format": FORMAT,
        "what": "robustness-harness entry" if submission.claim is None else CLAIM,
        "run": submission.run.model_dump(mode="json", exclude_defaults=True),
        "rows": submission.rows,
        "table": file_digest(records).model_dump(),
        "spec": submission.spec.split("\n"),
        "cells": [record.model_dump(mode="json") for record in submission.cells],
    }
    if submission.claim is not None:
        held["claim"] = submission.claim.model_dump(mode="json", exclude_defaults=True)
    # Not of the submission's hash: an entry that is added again only claims to be made of a file with that one.
    name = entry_name(submission, hashlib.sha256(readable_json(held)).hexdigest())
    path = folder / f"{name}{ENTRY_SUFFIX}"
    contents = {
        path.with_name(f"{name}{ENTRY_RECORDS_SUFFIX}"): records,
        path: readable_json(held | {"submission": submission.sha256}),
    }
    try:
        for file, content in contents.items():
            if file.exists() and file.read_bytes() != content:
                raise DataError(f"{file}: already exists, with different content. Look at it before you remove it.")
        for file, content in contents.items():
            write_file(file, partial(_write_bytes, content))
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror or error}). Give another --entries.") from None
    return path


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)
