"""Every column of the records is described."""

from __future__ import annotations

from pathlib import Path

from harness.records.cell_manifest import CellRecord
from harness.records.schema import EXAMPLES, STEPS

PAGE = (Path(__file__).parents[2] / "docs" / "columns.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text below a heading, up to the next."""
    return PAGE.split(f"\n{title}", 1)[1].split("\n## ", 1)[0]


def test_every_column_of_the_records_is_there() -> None:
    for title, names in (
        ("## `examples.parquet`", EXAMPLES.names),
        ("## `steps.parquet`", STEPS.names),
        ("## `cell.json`", list(CellRecord.model_fields)),
    ):
        rows = [line.split("`")[1] for line in section(title).splitlines() if line.startswith("| `")]
        assert rows == names
