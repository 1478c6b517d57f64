"""A submission as a run, so that everything which is computed from a run directory is computed from it alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from harness.records.read import Cell, Run
from harness.records.schema import EXAMPLES, NOT_SUBMITTED, STEPS
from leaderboard.data.evidence import Evidence
from leaderboard.submission.file_format.errors import RefusedError, escaped
from leaderboard.submission.file_format.records_file import RecordsFile
from leaderboard.submission.file_format.records_table import examples_of, steps_of
from leaderboard.submission.submission import Submission
from leaderboard.submission.verification_record import VerificationRecord


@dataclass(frozen=True)
class SubmittedCell(Cell):
    """A cell whose rows are some of a submission's records. ``folder`` names submission and key, and is not there."""

    checked: ClassVar[bool] = True
    records: RecordsFile
    start: int
    rows: int
    evidence: Evidence

    def examples(self, columns: Sequence[str] | None = None) -> pa.Table:
        """As of any cell."""
        return _with_columns(examples_of(self._rows(columns or EXAMPLES.names)), EXAMPLES, columns)

    def steps(self, columns: Sequence[str] | None = None) -> pa.Table:
        """As of any cell."""
        return _with_columns(steps_of(self._rows(columns or STEPS.names)), STEPS, columns)

    def _rows(self, columns: Sequence[str]) -> pa.Table:
        return self.records.slice(self.start, self.rows, sorted({"step", *columns} - NOT_SUBMITTED))


def _with_columns(table: pa.Table, schema: pa.Schema, columns: Sequence[str] | None) -> pa.Table:
    """These columns, or all of the schema; those that no submission has are nulls."""
    names = list(schema.names if columns is None else columns)
    for name in NOT_SUBMITTED.intersection(names):
        table = table.append_column(name, pa.nulls(len(table), schema.field(name).type))
    return table.select(names)


def as_run(submission: Submission, verification: VerificationRecord | None = None) -> Run:
    """The run that was submitted. Raises RefusedError where the cells of the rows are not those of the manifests.

    Args:
        verification: what the reader's own folder has about it.
    """
    cells_of_rows = submission.records.cells()
    rows = dict(cells_of_rows)
    keys = [record.key for record in submission.cells]
    known = set(keys)
    if [key for key, _ in cells_of_rows] != [key for key in keys if key in rows]:
        foreign = next((key for key in rows if key not in known), None)
        reason = (
            "are in another order than its cells"
            if foreign is None
            else f"name a cell {escaped(foreign)} that it does not have"
        )
        raise RefusedError(f"{submission.records.source}: its rows {reason}")
    cells, start = [], 0
    for record in submission.cells:
        length = rows.get(record.key, 0)
        evidence = Evidence() if verification is None else verification.evidence(record)
        folder = submission.path / record.key
        cells.append(SubmittedCell(record, folder, submission.records, start, length, evidence))
        start += length
    info = submission.run.model_dump(mode="json", exclude_defaults=True) | {"spec": submission.spec}
    return Run(submission.path, info, tuple(cells), (), 0)
