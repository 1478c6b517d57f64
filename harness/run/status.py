"""What a run directory holds: cells done, failed, begun and missing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import one_line
from harness.records.planned import PlannedCell, read_planned
from harness.records.untold import untold_text
from harness.run.cell_label import label_of
from harness.run.run_folder import RunFolder
from harness.run.shards import Shard


@dataclass(frozen=True, slots=True)
class CellState:
    """What the folder of one cell holds."""

    key: str
    status: str  # done, skipped, failed, begun, damaged, missing
    label: str
    n_attacked: int | None
    rounds: int  # rounds in the journal of a begun cell
    error: str | None
    untold: str = ""  # which answers have no verdict, in words


@dataclass(frozen=True)
class RunStatus:
    """Everything `harness status` prints."""

    spec_name: str
    spec_version: str
    spec_hash: str
    expected: int
    cells: list[CellState]  # those with a folder, and the missing ones where the run lists what it has to do
    shard: Shard | None = None  # None: a whole run

    def count(self, status: str) -> int:
        """Cells in that state; ``missing`` are those without a folder."""
        if status == "missing":
            return max(0, self.expected - sum(cell.status != "missing" for cell in self.cells))
        return sum(cell.status == status for cell in self.cells)

    def counts(self) -> dict[str, int]:
        """Cells by state; ``skipped`` ones, beyond a defense's budget, and ``damaged`` ones, which the next start makes
        again, only where there are any.
        """
        states = ["done", "failed", "begun", "missing"]
        states += [state for state in ("skipped", "damaged") if self.count(state)]
        return {state: self.count(state) for state in states}

    @property
    def with_untold(self) -> list[CellState]:
        """The finished cells that have answers without a verdict."""
        return [cell for cell in self.cells if cell.untold and cell.status == "done"]

    def to_json(self) -> dict[str, Any]:
        """The status as JSON data, as `harness status --json` prints it."""
        return {
            "spec_name": self.spec_name,
            "spec_version": self.spec_version,
            "spec_hash": self.spec_hash,
            "expected": self.expected,
            "shard": [self.shard.index, self.shard.of] if self.shard else None,
        } | {
            "counts": self.counts(),
            "cells": [asdict(cell) for cell in self.cells],
        }


def read_status(root: Path) -> RunStatus:
    """Read a run directory; a run in progress may be read at any time.

    Raises:
        RunError: there is no run, or its manifest is damaged.
        DataError: what it lists of its cells is damaged.
    """
    folder = RunFolder(root)
    manifest = folder.read_manifest()
    paths = sorted(folder.cells.iterdir()) if folder.cells.exists() else []
    planned = {cell.key: planned_label(cell) for cell in read_planned(manifest.get("planned"), folder.manifest)}
    cells = [_state(folder, path.name, planned.get(path.name, "")) for path in paths if path.is_dir()]
    shard = folder.shard(manifest)
    if shard is None:  # a part of a run does not list which cells are its own
        there = {cell.key for cell in cells}
        cells += [CellState(key, "missing", one, None, 0, None) for key, one in planned.items() if key not in there]
    return RunStatus(
        manifest["spec_name"],
        str(manifest["spec_version"]),
        manifest["spec_hash"],
        int(manifest.get("cells", len(cells))),
        cells,
        shard,
    )


def planned_label(cell: PlannedCell) -> str:
    """What a cell is called that has no record yet."""
    return label_of(cell.task, cell.victim, cell.defense, cell.round, cell.attack, cell.threat, cell.seed)


def _state(folder: RunFolder, key: str, planned: str) -> CellState:
    status = folder.cell_status(key)
    journal = folder.cell(key) / "journal.jsonl"
    rounds = journal.read_bytes().count(b"\n") if journal.exists() else 0
    try:
        data = json.loads((folder.cell(key) / "cell.json").read_text(encoding="utf-8"))
        label = label_of(
            data["task"]["label"],
            data["victim"]["label"],
            data["defense"]["label"],
            (data.get("defense_facts") or {}).get("round"),
            data["attack"]["label"],
            data["threat_label"],
            data["seed"],
        )
        attacked = data["n_attacked"] if status == "done" else None
        error = None if data["error"] is None else one_line(data["error"])
        return CellState(key, status, one_line(label), attacked, rounds, error, untold_text(data))
    except (OSError, ValueError, KeyError, TypeError):
        return CellState(key, "begun" if status == "begun" else "damaged", planned, None, rounds, None)
