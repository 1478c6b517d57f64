"""Writes docs/columns.md: columns of a run's tables and fields of its `cell.json`, as the sources comment them.

python docs/write_columns.py
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

PAGE = Path(__file__).parent / "columns.md"


def page() -> str:
    """The text of docs/columns.md."""
    lines = [
        "# Columns of records",
        "",
        "Written from the sources by `python docs/write_columns.py`.",
        "`harness.read_run(folder)` gives a `Run`. Each of its cells has `examples()` and `steps()`, which are Arrow",
        "tables, and `record`, which is what `cell.json` holds. Every column of a table may be null.",
        "",
    ]
    schema, step_row, cell = ("schema", "step_row", "cell_manifest")
    records = importlib.import_module("harness.records.schema")
    tables = {"EXAMPLES =": records.EXAMPLES, "class StepRow": records.STEPS}
    for title, module, start, end in (
        ("`examples.parquet`: a row per attacked or excluded example", schema, "EXAMPLES =", ")\n\n"),
        ("`steps.parquet`: a row per attacked example and step", step_row, "class StepRow", "    def "),
        ("`cell.json`: the cell", cell, "class CellRecord", "\n\n\n"),
    ):
        text = inspect.getsource(importlib.import_module(f"harness.records.{module}"))
        begin = text.index(start)
        stop = text.find(end, begin)
        lines += [f"## {title}", "", "| column | type | |", "|---|---|---|"]
        types = {field.name: str(field.type) for field in tables.get(start, ())}
        fields_of = _commented_fields(text[begin : stop if stop > 0 else None])
        lines += [f"| `{name}` | `{types.get(name, kind)}` | {what} |" for name, kind, what in fields_of]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _commented_fields(source: str) -> list[tuple[str, str, str]]:
    """Name, type and comment of each field of a class, or entry of a schema, in its source."""
    of_class = re.compile(r"    (\w+): ([\w\[\], |\".]+?)(?: = .*?)?(?:  # (.*))?")
    of_schema = re.compile(r'        \("(\w+)", (?:pa\.)?(\w+?)_?(?:\(\))?\),(?:  # (.*))?')
    found, before = [], []
    for line in source.splitlines():
        field = of_class.fullmatch(line) or of_schema.fullmatch(line)
        if line.strip().startswith("# "):
            before.append(line.strip()[2:])
        elif field and field[1] != "model_config":
            comment = "; ".join(filter(None, [" ".join(before), field[3]])).replace("|", "\\|")
            found.append((field[1], field[2].replace(" | None", "").replace("|", "or"), comment))
        if not line.strip().startswith("# "):
            before = []
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
