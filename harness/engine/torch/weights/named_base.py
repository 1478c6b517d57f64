"""Prepared folders without weights: they name the weights by what these hold, and those are used where they lie."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import VictimError

NAME = "base.json"


@dataclass(frozen=True)
class Origin:
    """The weights that a victim starts from, where they lie on this machine.

    Attributes:
        source: folder in hub layout, or hub id.
        revision: commit of a hub id.
        content: what identifies them: hashes by file name, or a commit.
        name: as the spec has it, for errors.
    """

    source: str
    revision: str | None
    content: Mapping[str, str]
    name: str


@dataclass(frozen=True)
class WeightsPlace:
    """Where the weights of a prepared folder lie.

    Attributes:
        source, revision: as in `Origin`.
        described_by: the prepared folder, whose config.json counts; None where it holds the weights itself.
    """

    source: str
    revision: str | None = None
    described_by: Path | None = None


def name_base(folder: Path, content: Mapping[str, str]) -> None:
    """Write into a prepared folder which weights it stands for."""
    (folder / NAME).write_text(json.dumps({"content": dict(content)}, indent=1) + "\n", encoding="utf-8")


def weights_of(folder: Path | str, origin: Origin | None = None) -> WeightsPlace:
    """Where the weights of a prepared folder lie.

    Args:
        origin: what weights may be named; not needed where the folder holds its own.

    Raises:
        VictimError: the folder names other weights than these.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        return WeightsPlace(str(folder))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise VictimError(f"{path}: damaged ({error}); delete the folder {folder} to have it made again") from error
    if origin is None:
        raise VictimError(f"{folder}: names weights that lie elsewhere ({NAME}); it can be opened by its victim alone")
    if content != dict(origin.content):
        differs = sorted(name for name in {*content, *origin.content} if content.get(name) != origin.content.get(name))
        raise VictimError(
            f"{origin.name}: has changed since it was made ready ({', '.join(differs[:3])}); run again, so that it is "
            "known by what it holds now"
        )
    return WeightsPlace(origin.source, origin.revision, Path(folder))
