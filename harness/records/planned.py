"""The cells that a run has to do, as `run.json` lists them, so that a reader of its records knows what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from harness.errors import DataError
from harness.records.cell_manifest import Line


@dataclass(frozen=True)
class PlannedCell:
    """A cell of a spec, by the labels that its record will have.

    Attributes:
        space: what its attack changes, text or activations.
        round: of a defense that is trained in rounds; None of any other.
    """

    key: str
    task: str
    threat: str
    space: str
    victim: str
    defense: str
    round: int | None
    attack: str
    seed: int


class _Group(BaseModel):
    """Cells that differ in nothing but their seed, which is all that is listed of each: seed to key."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    task: Line
    threat: Line
    space: str
    victim: Line
    defense: Line
    round: int | None
    attack: Line
    keys: dict[int, str]


_GROUPS = TypeAdapter(list[_Group])


def planned_json(cells: Iterable[PlannedCell]) -> list[dict[str, Any]]:
    """JSON data for ``planned`` of `run.json`."""
    groups: dict[tuple[Any, ...], dict[int, str]] = {}
    for cell in cells:
        same = cell.task, cell.threat, cell.space, cell.victim, cell.defense, cell.round, cell.attack
        groups.setdefault(same, {})[cell.seed] = cell.key
    names = ("task", "threat", "space", "victim", "defense", "round", "attack")
    return [
        dict(zip(names, same, strict=True)) | {"keys": {str(seed): key for seed, key in keys.items()}}
        for same, keys in groups.items()
    ]


def read_planned(data: Any, source: object) -> tuple[PlannedCell, ...]:
    """What `planned_json` wrote; none where it was not written, as in older runs.

    Args:
        source: the file, for errors.

    Raises:
        DataError: it is not of this form.
    """
    if data is None:
        return ()
    try:
        groups = _GROUPS.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in ("planned", *first["loc"]))
        raise DataError(f"{source}: {field}: {first['msg']}. Restore the file, or run the spec again here.") from None
    return tuple(
        PlannedCell(key, seed=seed, **group.model_dump(exclude={"keys"}))
        for group in groups
        for seed, key in group.keys.items()
    )
