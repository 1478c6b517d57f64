"""The records of a submission: the examples and steps of all its cells in one Parquet file.

A row of step 0 is a row of `harness.records.schema.EXAMPLES`, the clean prompt; every other is one of `STEPS`. The rows
of a cell lie together, in the order of the cells; first its examples, then its steps.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.records.schema import EXAMPLES, NOT_SUBMITTED, STEPS
from harness.records.step_row import SAMPLED
from leaderboard.submission.file_format.limits import MAX_GROUP_BYTES, MAX_GROUP_ROWS

SCHEMA = pa.schema(
    [
        ("cell", pa.string()),
        ("example", pa.string()),
        ("step", pa.int32()),
        *[field for field in EXAMPLES if field.name in ("label", "target", "benign", "attacked", "excluded")],
        *[field for field in STEPS if field.name not in ("example", "step", *NOT_SUBMITTED)],
    ]
)
TEXT_COLUMNS = tuple(field.name for field in SCHEMA if field.type == pa.string())
TEXT_LIST_COLUMNS = tuple(field.name for field in SCHEMA if field.type == pa.list_(pa.string()))


def cell_rows(key: str, examples: pa.Table, steps: pa.Table) -> pa.Table:
    """The rows of one cell."""
    clean = examples.append_column("step", pa.array([0] * len(examples), pa.int32()))
    rows = pa.concat_tables([_with_all_columns(clean), _with_all_columns(steps)])
    return rows.set_column(0, SCHEMA.field("cell"), pa.array([key] * len(rows), pa.string()))


def examples_of(rows: pa.Table) -> pa.Table:
    """Inverse of `cell_rows`: the examples among the rows of a cell, all columns of them that are there."""
    return _with_columns_of(EXAMPLES, rows.filter(pc.equal(rows["step"], 0)))


def steps_of(rows: pa.Table) -> pa.Table:
    """Inverse of `cell_rows`: the steps among the rows of a cell, all columns of them that are there."""
    return _with_columns_of(STEPS, rows.filter(pc.not_equal(rows["step"], 0)))


def to_parquet(cells: Iterable[pa.Table], *, drawn: bool) -> bytes:
    """The file; the same tables give the same bytes under the same version of pyarrow.

    Args:
        drawn: whether answers of any cell were drawn; without such the columns for them are left out.
    """
    sink = io.BytesIO()
    schema = pa.schema([field for field in SCHEMA if drawn or field.name not in SAMPLED])
    with pq.ParquetWriter(sink, schema, compression="zstd", store_schema=False, write_statistics=False) as writer:
        for group in _row_groups(cells):
            writer.write_table(group.select(schema.names), row_group_size=MAX_GROUP_ROWS)
    return sink.getvalue()


def _row_groups(cells: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows in row groups of a bounded size."""
    waiting: list[pa.Table] = []
    rows = size = 0
    for cell in cells:
        # A cell alone may be larger than a row group.
        length = max(1, min(MAX_GROUP_ROWS, MAX_GROUP_BYTES // 4 * max(1, len(cell)) // max(1, cell.nbytes)))
        for part in (cell.slice(start, length) for start in range(0, len(cell), length)):
            if waiting and (rows + len(part) > MAX_GROUP_ROWS or size + part.nbytes > MAX_GROUP_BYTES // 2):
                yield pa.concat_tables(waiting).combine_chunks()
                waiting, rows, size = [], 0, 0
            waiting.append(part)
            rows, size = rows + len(part), size + part.nbytes
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _with_all_columns(table: pa.Table) -> pa.Table:
    columns = [
        table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type) for field in SCHEMA
    ]
    return pa.table(columns, schema=SCHEMA)


def _with_columns_of(schema: pa.Schema, rows: pa.Table) -> pa.Table:
    names = [name for name in schema.names if name in rows.column_names]
    return rows.select(names).cast(pa.schema([schema.field(name) for name in names]))
