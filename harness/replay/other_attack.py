"""A spec with another attack in the place of all of its own, and of its cells those of one row alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import DataError, did_you_mean
from harness.registry.registry import Registry
from harness.spec.cells import CellSpec
from harness.spec.load import LoadedSpec, read_spec
from harness.spec.yaml_file import read_yaml


@dataclass(frozen=True)
class RowLabels:
    """A row of the standings, by labels as records have them; ``round`` is None for a defense without rounds."""

    task: str
    threat: str
    victim: str
    defense: str
    round: int | None = None

    def __str__(self) -> str:
        labels = f"{self.task} · {self.threat} · {self.victim} · {self.defense}"
        return labels if self.round is None else f"{labels} · round {self.round}"


def with_other_attack(
    spec: LoadedSpec, attack: str, params: Mapping[str, Any], row: RowLabels, registry: Registry
) -> LoadedSpec:
    """The spec with this attack alone, and the cells of ``row`` alone: victims, defenses, data, judge, threat model and
    seeds are those of ``spec``. Its text is JSON, which is YAML too; paths in it count from the folder of ``spec``.

    What ``exclude`` says of attacks is left out, as is a calibration of the judge, which changes no record.

    Raises:
        DataError: the spec makes no such row.
        InvalidSpecError: the attack cannot be run in it.
    """
    data = dict(read_yaml(spec.text, str(spec.path)).data)
    data.pop("judge_calibration", None)
    data["attacks"] = [{attack: dict(params)}]
    if "exclude" in data:
        data["exclude"] = [entry for entry in data["exclude"] if not _names_attack(entry)]
        if not data["exclude"]:
            del data["exclude"]
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    loaded = read_spec(text, spec.path.name, spec.path.parent, registry, spec.plain_folders)
    cells = tuple(cell for cell in loaded.cells if row_of_cell(cell) == row)
    if not cells:
        rows = sorted({str(row_of_cell(cell)) for cell in loaded.cells})
        raise DataError(f"no row {str(row)!a} in spec {spec.spec.name}{did_you_mean(str(row), rows)}")
    return replace(loaded, cells=cells)


def row_of_cell(cell: CellSpec) -> RowLabels:
    """The row of the standings that a cell of a spec stands in."""
    return RowLabels(cell.task.label, cell.threat.label(), cell.victim.label, cell.defense.label, cell.round)


def _names_attack(entry: Any) -> bool:
    """Whether an entry of ``exclude`` is about attacks, itself or in what it spares."""
    if not isinstance(entry, dict):
        return False
    return "attack" in entry or any(_names_attack(exception) for exception in entry.get("unless") or ())
