"""Strings against the small submission of `forge.pack_fast`, and files of them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BREAKING: tuple[tuple[Any, ...], ...] = (
    ("validation-00002", " soup soup read", 2e6),
    ("validation-00005", "CC snow win", 3e6),
)
"""Example, string and declared FLOPs: strings that break it, and that its own attacks have not found."""
OWN = "validation-00003"
"""The example that its own attacks break."""


def write_strings(path: Path, rows: Iterable[tuple[Any, ...]]) -> Path:
    """A CSV file of (example, string) or (example, string, flops)."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["example", "string", "flops"])
        writer.writerows([*row, ""][:3] for row in rows)
    return path
