"""What has to be made for a cell before it is attacked."""

from __future__ import annotations

from harness.run.keys import Keys
from harness.run.prepare import Preparer
from harness.spec.cells import Cell


def needs_of(cell: Cell, keys: Keys, preparer: Preparer) -> tuple[str, ...]:
    """Keys of the artifacts of a cell, in the order of their making, and of its defended victim if it has one."""
    helpers = preparer.model_keys(preparer.training_helpers(cell)).values()
    found = [keys.victim, *helpers, *(key for key, _ in keys.rounds), *keys.models.values()]
    return tuple(dict.fromkeys([*found, *([keys.pipeline] if cell.runtime else [])]))
