"""How many of a cell's answers have no verdict, in words: the same in a run's lines, its end and its status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def untold_text(record: Mapping[str, Any]) -> str:
    """``9 of 9 clean answers not judged, 2 of 40 attacked prompts without an answer``; empty where every answer has a
    verdict.

    Args:
        record: of ``cell.json``, as JSON data; counts that are not there are 0.
    """
    clean, asked = record.get("n_clean", 0), record.get("n_asked", 0)
    counts = [
        (record.get("n_clean_missing", 0), f"{clean} clean prompts without an answer"),
        (record.get("n_clean_unparseable", 0), f"{clean} clean answers not judged"),
        (record.get("n_missing", 0), f"{asked} attacked prompts without an answer"),
        (record.get("n_unparseable", 0), f"{asked} answers under attack not judged"),
    ]
    return ", ".join(f"{count} of {what}" for count, what in counts if count)
