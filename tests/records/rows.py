"""A step's row for tests that look at a few of its columns."""

from __future__ import annotations

from typing import Any

from harness.records.step_row import COMPUTE, StepRow


def step_row(**fields: Any) -> StepRow:
    """The first step of example "e", of which nothing is known but these fields."""
    plain: dict[str, Any] = {"example": "e", "step": 1, "success": False, "attack_tokens": [], "queries": 0}
    return StepRow(**(plain | dict.fromkeys(COMPUTE, 0.0) | fields))
