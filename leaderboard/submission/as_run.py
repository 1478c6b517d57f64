"""A submission as a run, so that everything which is computed from a run directory is computed from it alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from harness.records.read import Cell, Run
from harness.records.schema import EXAMPLES, STEPS
from leaderboard.submission.file_format.errors import RefusedError, shown
from leaderboard.submission.file_format.table import examples_of, steps_of
from leaderboard.submission.file_format.table_file import TableFile
from leaderboard.submission.submission import Submission


@dataclass(frozen=True)
class SubmittedCell(Cell):
    """A cell whose rows are a part of a submission's table. ``folder`` names submission and key, and is not there."""

    table: TableFile
    start: int
    rows: int

    def examples(self, columns: Sequence[str] | None = None) -> pa.Table:
        wanted = list(EXAMPLES.names if columns is None else columns)
        return examples_of(self._rows(wanted)).select(wanted)

    def steps(self, columns: Sequence[str] | None = None) -> pa.Table:
        wanted = list(STEPS.names if columns is None else columns)
        return steps_of(self._rows(wanted)).select(wanted)

    def _rows(self, columns: Sequence[str]) -> pa.Table:
        return self.table.slice(self.start, self.rows, sorted({"step", *columns}))


def as_run(submission: Submission) -> Run:
    """The run that was submitted. Raises RefusedError where the table's cells are not those of the manifests."""
    found = submission.table.cells()
    keys = [record.key for record in submission.cells]
    if [key for key, _ in found] != [key for key in keys if key in {name for name, _ in found}]:
        strange = next((key for key, _ in found if key not in keys), None)
        what = "are in another order than its cells" if strange is None else f"name a cell {shown(strange)} it has not"
        raise RefusedError(f"{submission.table.where}: its rows {what}")
    rows = dict(found)
    cells, start = [], 0
    for record in submission.cells:
        length = rows.get(record.key, 0)
        folder = submission.path / record.key
        cells.append(SubmittedCell(record, folder, submission.table, start, length))
        start += length
    info = submission.run.model_dump(mode="json") | {"spec": submission.spec}
    return Run(submission.path, info, tuple(cells), (), 0)
