"""What the search for an attack's parameters takes per example that the attack was then used on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.records.cell_manifest import TuningRecord
from harness.records.read import Cell


@dataclass(frozen=True)
class SearchShare:
    """A search, and the examples that share its cost.

    Attributes:
        record: as specs and records have it.
        attacked: examples attacked with what it found, in all cells at hand.
    """

    record: TuningRecord
    attacked: int

    @property
    def per_example(self) -> float:
        """FLOPs (nominal) of the search for each attacked example."""
        return self.record.flops / max(self.attacked, 1)


def search_shares(cells: Iterable[Cell]) -> dict[str, SearchShare]:
    """The searches behind some cells, by key; a cell that is there twice counts once."""
    found: dict[str, SearchShare] = {}
    for cell in {cell.record.key: cell for cell in cells}.values():
        tuning = cell.record.tuning
        if tuning is not None:
            before = found.get(tuning.key, SearchShare(tuning, 0))
            found[tuning.key] = SearchShare(tuning, before.attacked + cell.record.n_attacked)
    return found
