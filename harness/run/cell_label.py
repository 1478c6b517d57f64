"""A cell in one line."""

from __future__ import annotations

from harness.spec.cells import CellSpec


def label(cell: CellSpec) -> str:
    """A cell in one line."""
    defense = cell.defense.label + (f" round {cell.round}" if cell.round is not None else "")
    parts = [cell.task.label, cell.victim.label, defense, cell.attack.label, cell.threat.label()]
    return f"{' × '.join(parts)}, seed {cell.seed}"
