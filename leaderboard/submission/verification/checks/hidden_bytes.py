"""An entry's files against what `harness leaderboard add` writes of the same content: bytes that no reader shows."""

from __future__ import annotations

import io

import pyarrow.parquet as pq

from leaderboard.submission.file_format.errors import escaped
from leaderboard.submission.file_format.manifest import file_digest
from leaderboard.submission.file_format.records_table import cell_rows, to_parquet
from leaderboard.submission.file_format.strict_json import load_json
from leaderboard.submission.pack import readable_json
from leaderboard.submission.run_of_submission import as_run
from leaderboard.submission.submission import ENTRY_RECORDS_SUFFIX, Submission

_AS_ADDED = "written as `harness leaderboard add` writes it"


def hidden_bytes(entry: Submission) -> tuple[str, str]:
    """Write both files of a valid entry again, and compare.

    Returns:
        Why its files are not as they should be, and why that cannot be told here: another version of pyarrow writes
        tables otherwise. Each "" where there is nothing to say.
    """
    raw = entry.path.read_bytes()
    if readable_json(load_json(raw, str(entry.path))) != raw:
        return f"its JSON is not {_AS_ADDED}. Add it again.", ""
    rows = (cell_rows(cell.record.key, cell.examples(), cell.steps()) for cell in as_run(entry))
    table = to_parquet(rows, drawn=any(record.samples for record in entry.cells))
    if file_digest(table).sha256 == file_digest(entry.path.with_suffix(ENTRY_RECORDS_SUFFIX).read_bytes()).sha256:
        return "", ""
    ours, theirs = pq.read_metadata(io.BytesIO(table)).created_by, entry.records.created_by
    if ours == theirs:
        return f"its table is not {_AS_ADDED}, and may hold bytes that no reader shows. Add it again.", ""
    return "", (
        f"its table was written by {escaped(theirs)}, and here it would be by {ours}: whether it holds bytes that no "
        "reader shows cannot be determined. Add it again to write it without them, or verify it with that version."
    )
