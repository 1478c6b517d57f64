"""Writing a finished cell: tables first, then the manifest, which makes it count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.records.cell_manifest import CellRecord
from harness.records.step_row import SAMPLED, StepRow
from harness.store.atomic import write_file, write_json

if TYPE_CHECKING:
    import pyarrow as pa


def write_table(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    """Rows as Parquet, atomically."""
    import pyarrow as pa  # not at the top: whoever asks what a cell would be writes none
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(rows, schema=schema)
    write_file(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def write_cell(folder: Path, record: CellRecord, examples: list[dict[str, Any]], steps: Sequence[StepRow]) -> None:
    """Everything of one cell."""
    import pyarrow as pa

    from harness.records.schema import EXAMPLES, STEPS

    for stale in folder.glob(".*"):  # what a kill left of an earlier write
        stale.unlink()
    write_table(folder / "examples.parquet", examples, EXAMPLES)
    rows = [row.to_record() for row in steps]
    columns = [field for field in STEPS if record.samples or field.name not in SAMPLED]
    write_table(folder / "steps.parquet", rows, pa.schema(columns))
    write_json(folder / "cell.json", record.model_dump(mode="json"))
