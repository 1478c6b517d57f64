"""Attack strings in the records of another run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import DataError

if TYPE_CHECKING:
    from harness import Cell, Run

COLUMNS = ["example", "step", "success", "loss", "attack_text"]
CELLS_LISTED = 8  # in an error

_CELL_FIELDS: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "task": lambda record: (record.task.label, record.task.name),
    "attack": lambda record: (record.attack.label, record.attack.name),
    "victim": lambda record: (record.victim.label, record.victim.name),
    "defense": lambda record: (record.defense.label, record.defense.name),
    "round": lambda record: (None if record.defense_facts is None else record.defense_facts.round,),
    "threat": lambda record: (record.threat_label,),
    "seed": lambda record: (record.seed,),
}
FILTERS = tuple(_CELL_FIELDS)
"""What selects a cell: for each, its label, or the plugin's name."""


@dataclass(frozen=True)
class RecordedString:
    """An attack string from the records of another run.

    Attributes:
        step: at which it was judged, counted from 1.
        text: the string.
        success: the judge's verdict there.
        loss: there, in nats; inf where unknown.
    """

    step: int
    text: str
    success: bool
    loss: float


@dataclass(frozen=True)
class RecordedRun:
    """The cell of another run whose strings are replayed.

    Attributes:
        cell: the cell.
        seeds: of all cells that differ from it in the seed alone, ascending; it has the lowest.
    """

    cell: Cell
    seeds: tuple[int, ...]

    @classmethod
    def find(cls, path: Path, filters: Mapping[str, Any]) -> RecordedRun:
        """The one cell of a run that fits the filters; of several that differ in the seed alone, that of the lowest.

        Args:
            filters: values of `FILTERS`; None: any.

        Raises:
            DataError: no run, no such cell, or several.
        """
        from harness import read_run  # Parquet takes a while to import, and listing plugins does not need it

        try:
            run = read_run(path)
        except DataError as error:
            raise DataError(f"transfer: {error}") from None
        cells = [cell for cell in run if cell.record.space == "text"]  # a perturbation of activations is no string
        matches = [cell for cell in cells if _matches(cell, filters)]
        if not matches:
            raise DataError(f"transfer: {_no_match(run, cells, filters)}")
        differing = [name for name in FILTERS if name != "seed" and len(_values(matches, name)) > 1]
        if differing:
            values = "; ".join(f"{name}: {' | '.join(sorted(map(str, _values(matches, name))))}" for name in differing)
            raise DataError(
                f"transfer: {len(matches)} cells of {path} match; choose one by {', '.join(differing)} ({values})"
            )
        seeds = sorted(cell.record.seed for cell in matches)
        if seeds.count(seeds[0]) > 1:
            keys = ", ".join(cell.record.key for cell in matches if cell.record.seed == seeds[0])
            raise DataError(f"transfer: {path} has cells that cannot be told apart ({keys}); remove all but one")
        return cls(next(cell for cell in matches if cell.record.seed == seeds[0]), tuple(seeds))

    def facts(self) -> dict[str, Any]:
        """For the manifest: the cell's labels and key, the seeds it was chosen from, and how many examples have
        strings.
        """
        labels = {name: _label(self.cell, name) for name in FILTERS}
        seeds = {"lowest_of_seeds": list(self.seeds)} if len(self.seeds) > 1 else {}
        return labels | seeds | {"key": self.cell.record.key, "examples": len(self.strings)}

    @cached_property
    def strings(self) -> dict[str, list[RecordedString]]:
        """The strings by example id, in order of steps. A step whose string was never put into a prompt, because it
        broke the threat model or did not survive tokenisation there, has none.
        """
        by_example: dict[str, list[RecordedString]] = {}
        for row in self._rows():
            if row["attack_text"] is not None:
                loss = math.inf if row["loss"] is None else row["loss"]
                string = RecordedString(row["step"], row["attack_text"], row["success"], loss)
                by_example.setdefault(row["example"], []).append(string)
        return {name: sorted(strings, key=lambda string: string.step) for name, strings in by_example.items()}

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the cell's key and of all that is read of its steps, hexadecimal."""
        digest = hashlib.sha256(self.cell.record.key.encode())
        for row in self._rows():
            digest.update(json.dumps([row[name] for name in COLUMNS]).encode())
        return digest.hexdigest()

    def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.cell.steps(COLUMNS).to_pylist()
        return rows


def _matches(cell: Cell, filters: Mapping[str, Any]) -> bool:
    return all(value is None or value in _CELL_FIELDS[name](cell.record) for name, value in filters.items())


def _label(cell: Cell, name: str) -> Any:
    return _CELL_FIELDS[name](cell.record)[0]


def _values(cells: list[Cell], name: str) -> set[Any]:
    return {_label(cell, name) for cell in cells}


def _no_match(run: Run, cells: list[Cell], filters: Mapping[str, Any]) -> str:
    """Why no cell fits the filters, and how to fix it."""
    given = ", ".join(f"{name} {value!r}" for name, value in filters.items() if value is not None)
    labels = sorted(", ".join(f"{n} {_label(c, n)}" for n in FILTERS if _label(c, n) is not None) for c in cells)
    more = [f"and {len(labels) - CELLS_LISTED} more"] if len(labels) > CELLS_LISTED else []
    listed = f"it has {'; '.join([*labels[:CELLS_LISTED], *more])}" if labels else "none is done"
    missing = int(run.info.get("cells", 0)) - len(run.cells)
    mend = f"; {missing} of its cells are not done: finish that run first" if missing > 0 else "; change the filters"
    return f"{run.path} has no finished cell{' of ' + given if given else ''}: {listed}{mend}"
