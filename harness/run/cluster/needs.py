"""What has to be made for a cell before it is attacked."""

from __future__ import annotations

from harness.run.prepare import Preparer
from harness.spec.cells import Cell


def needs_of(cell: Cell, preparer: Preparer) -> tuple[str, ...]:
    """Keys of the artifacts of a cell, in the order of their making, and of its defended victim if it has one."""
    keys = preparer.keys(cell)
    helpers = [
        preparer.model_key(helper.chosen, helper.data, helper.seed)[0]
        for helper in preparer.training_helpers(cell).values()
        if helper.chosen is not None
    ]
    found = [keys.victim, *helpers, *(key for key, _ in keys.rounds), *keys.models.values()]
    return tuple(dict.fromkeys([*found, *([keys.pipeline] if cell.runtime else [])]))
