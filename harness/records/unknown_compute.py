"""Unknown compute on its way to disk and back: NaN in memory, which sums carry on, and null in files."""

from __future__ import annotations

import math
from typing import Any

from harness.flops import UNKNOWN
from harness.records.schema import FLOPS_COLUMNS


def with_nulls(row: dict[str, Any]) -> dict[str, Any]:
    """A row of steps as it is written to a file: unknown FLOPs are None."""
    unknown = [name for name in FLOPS_COLUMNS if isinstance(row.get(name), float) and math.isnan(row[name])]
    return row | dict.fromkeys(unknown) if unknown else row


def without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    """A row of steps as it is in memory: unknown FLOPs are NaN. Inverse of `with_nulls`."""
    unknown = [name for name in FLOPS_COLUMNS if name in row and row[name] is None]
    return row | dict.fromkeys(unknown, UNKNOWN) if unknown else row
