"""Unknown compute on its way to disk and back: NaN in memory, which sums carry on, and null in files."""

from __future__ import annotations

import math
from typing import Any

from harness.flops import UNKNOWN, known
from harness.records.schema import COMPUTE

__all__ = ["UNKNOWN", "known", "with_nulls", "without_nulls"]


def with_nulls(row: dict[str, Any]) -> dict[str, Any]:
    """A row of steps as it is written."""
    unknown = [name for name in COMPUTE if isinstance(row.get(name), float) and math.isnan(row[name])]
    return row | dict.fromkeys(unknown) if unknown else row


def without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    """Inverse of `with_nulls`."""
    unknown = [name for name in COMPUTE if name in row and row[name] is None]
    return row | dict.fromkeys(unknown, UNKNOWN) if unknown else row
