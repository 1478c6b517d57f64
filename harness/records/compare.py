"""Whether two records of one cell agree: which fields may differ between two runs of it, and the first that differs
although it should not.
"""

from __future__ import annotations

import pyarrow as pa

from harness.records.cell_manifest import CellRecord
from harness.records.read import Cell
from harness.records.schema import NOT_SUBMITTED

VOLATILE = frozenset({"started", "seconds", "host", "versions"})
"""Fields of ``cell.json`` that say when and where a cell was measured, not what was."""

OF_THE_JUDGE = frozenset({"judge_calibration"})
"""What is known of the judge from elsewhere, which a spec may name later."""

VOLATILE_COLUMNS = frozenset({"seconds"})
"""Columns of ``steps.parquet``, likewise."""

MACHINE_FIELDS = frozenset({"agreement", "data_source"})
"""What it was computed with (device, libraries, where the data lay): two machines differ in it, two runs on one do not.
"""


def difference(one: Cell, other: Cell) -> str | None:
    """The first field or column in which two records of a cell differ, whenever and wherever they were measured; None
    where none does.

    Raises:
        DataError: a table cannot be read.
    """
    if found := manifest_difference(one.record, other.record):
        return found
    if one.record.status == "skipped":  # there are no tables
        return None
    for name, left, right in (
        ("examples.parquet", one.examples(), other.examples()),
        ("steps.parquet", one.steps(), other.steps()),
    ):
        if left.num_rows != right.num_rows:
            return f"{name}: {left.num_rows} and {right.num_rows} rows"
        for column in left.column_names:
            if column in VOLATILE_COLUMNS or (column in NOT_SUBMITTED and _untold(left[column], right[column])):
                continue
            if not _equal(left[column], right[column]):
                return f"{name}: column {column}"
    return None


def manifest_difference(one: CellRecord, other: CellRecord) -> str | None:
    """The first field in which two manifests of a cell differ, as in `difference`; None where none does."""
    left, right = one.model_dump(mode="json"), other.model_dump(mode="json")
    for field in left:
        if field not in VOLATILE | OF_THE_JUDGE | MACHINE_FIELDS and left[field] != right[field]:
            return f"cell.json: {field}"
    return None


def _untold(left: pa.ChunkedArray, right: pa.ChunkedArray) -> bool:
    """Whether one of two columns says nothing, as in submissions and older records."""
    return any(column.null_count == len(column) for column in (left, right))


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> bool:
    if left.equals(right):
        return True
    if not pa.types.is_floating(left.type):
        return False
    pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
    return all(a == b or (a is not None and b is not None and a != a and b != b) for a, b in pairs)  # NaN is NaN
