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
LISTED = 8  # cells named in an error

_TOLD_BY: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "task": lambda record: (record.task.label, record.task.name),
    "attack": lambda record: (record.attack.label, record.attack.name),
    "victim": lambda record: (record.victim.label, record.victim.name),
    "defense": lambda record: (record.defense.label, record.defense.name),
    "round": lambda record: (None if record.defense_facts is None else record.defense_facts.round,),
    "threat": lambda record: (record.threat_label,),
    "seed": lambda record: (record.seed,),
}
FILTERS = tuple(_TOLD_BY)
"""What a cell is told by: its label, or the plugin's name."""


@dataclass(frozen=True)
class RecordedString:
    """A string of the source.

    Attributes:
        loss: as judged there; inf where unknown.
    """

    step: int
    text: str
    success: bool
    loss: float


@dataclass(frozen=True)
class RecordedRun:
    """The cell whose strings are tried.

    Attributes:
        seeds: those among which the lowest was taken.
    """

    cell: Cell
    seeds: tuple[int, ...]

    @classmethod
    def find(cls, path: Path, wanted: Mapping[str, Any]) -> RecordedRun:
        """The one cell of a run that the filters leave, that of the lowest seed where only seeds are left.

        Args:
            wanted: values of `FILTERS`; None: any.

        Raises:
            DataError: no run, no such cell, or several.
        """
        from harness import read_run  # Parquet takes a while to import, and listing plugins does not need it

        try:
            run = read_run(path)
        except DataError as error:
            raise DataError(f"transfer: {error}") from None
        cells = [cell for cell in run if cell.record.space == "text"]  # a perturbation of activations is no string
        left = [cell for cell in cells if _fits(cell, wanted)]
        if not left:
            raise DataError(f"transfer: {_nothing(run, cells, wanted)}")
        differing = [name for name in FILTERS if name != "seed" and len(_values(left, name)) > 1]
        if differing:
            there = "; ".join(f"{name}: {' | '.join(sorted(map(str, _values(left, name))))}" for name in differing)
            raise DataError(f"transfer: {len(left)} cells of {path} fit; say which by {', '.join(differing)} ({there})")
        seeds = sorted(cell.record.seed for cell in left)
        if seeds.count(seeds[0]) > 1:
            keys = ", ".join(cell.record.key for cell in left if cell.record.seed == seeds[0])
            raise DataError(f"transfer: {path} has cells that nothing tells apart ({keys}); remove all but one")
        return cls(next(cell for cell in left if cell.record.seed == seeds[0]), tuple(seeds))

    def facts(self) -> dict[str, Any]:
        """What it is told by, all its seeds where it was taken for having the lowest, and how many examples have
        strings.
        """
        told = {name: _label(self.cell, name) for name in FILTERS}
        chosen = {"lowest_of_seeds": list(self.seeds)} if len(self.seeds) > 1 else {}
        return told | chosen | {"key": self.cell.record.key, "examples": len(self.strings)}

    @cached_property
    def strings(self) -> dict[str, list[RecordedString]]:
        """The strings of each example, step by step. A step whose string was never put into a prompt, because it broke
        the threat model or did not survive tokenisation there, has none.
        """
        found: dict[str, list[RecordedString]] = {}
        for row in self._rows():
            if row["attack_text"] is not None:
                loss = math.inf if row["loss"] is None else row["loss"]
                one = RecordedString(row["step"], row["attack_text"], row["success"], loss)
                found.setdefault(row["example"], []).append(one)
        return {example: sorted(tried, key=lambda one: one.step) for example, tried in found.items()}

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


def read_run(path: Path) -> Run:
    """`harness.read_run`, looked up late: it brings pyarrow, which listing plugins does not need."""
    import harness

    return harness.read_run(path)


def _fits(cell: Cell, wanted: Mapping[str, Any]) -> bool:
    return all(value is None or value in _TOLD_BY[name](cell.record) for name, value in wanted.items())


def _label(cell: Cell, name: str) -> Any:
    return _TOLD_BY[name](cell.record)[0]


def _values(cells: list[Cell], name: str) -> set[Any]:
    return {_label(cell, name) for cell in cells}


def _nothing(run: Run, cells: list[Cell], wanted: Mapping[str, Any]) -> str:
    """Why no cell fits, and what to do."""
    asked = ", ".join(f"{name} {value!r}" for name, value in wanted.items() if value is not None)
    have = sorted(", ".join(f"{n} {_label(c, n)}" for n in FILTERS if _label(c, n) is not None) for c in cells)
    more = [f"and {len(have) - LISTED} more"] if len(have) > LISTED else []
    what = f"it has {'; '.join([*have[:LISTED], *more])}" if have else "none is done"
    missing = int(run.info.get("cells", 0)) - len(run.cells)
    mend = f"; {missing} of its cells are not done: finish that run first" if missing > 0 else "; change the filters"
    return f"{run.path} has no finished cell{' of ' + asked if asked else ''}: {what}{mend}"
