"""A cell in one line, for people: what is attacked, by what, under which threat model and seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.records.cell_manifest import CellRecord
    from harness.spec.cells import CellSpec


def cell_label(cell: CellSpec) -> str:
    """A cell of a spec in one line."""
    return label_of(
        cell.task.label,
        cell.victim.label,
        cell.defense.label,
        cell.round,
        cell.attack.label,
        cell.threat.label(),
        cell.seed,
    )


def record_label(record: CellRecord) -> str:
    """A recorded cell in one line; its round is the one that was trained, where a budget ended the training before."""
    facts = record.defense_facts
    return label_of(
        record.task.label,
        record.victim.label,
        record.defense.label,
        None if facts is None else facts.round,
        record.attack.label,
        record.threat_label,
        record.seed,
    )


def label_of(task: str, victim: str, defense: str, round: int | None, attack: str, threat: str, seed: int) -> str:
    """The labels of a cell's parts as one line; ``round`` is None of a defense that trains no weights."""
    checkpoint = defense if round is None else f"{defense} round {round}"
    return f"{' × '.join([task, victim, checkpoint, attack, threat])}, seed {seed}"
