"""Prepared folders without weights: they name the weights by what these hold, and those are used where they lie."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

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
        adapter: folder of an adapter that belongs to them.
    """

    source: str
    revision: str | None
    content: Mapping[str, str]
    name: str
    adapter: Path | None = None


@dataclass(frozen=True)
class WeightsPlace:
    """Where the weights of a prepared folder lie.

    Attributes:
        source, revision: as in `Origin`.
        described_by: the prepared folder, whose config.json counts; None where it holds the weights itself.
        adapters: folders of the adapters upon them, in order.
    """

    source: str
    revision: str | None = None
    described_by: Path | None = None
    adapters: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Base:
    """What a prepared folder without weights of its own says of them; one of the first two is there.

    Attributes:
        content: what identifies weights that lie elsewhere.
        artifact: key of the artifact that holds them.
        lora: how the adapter was trained that the folder holds; None where it holds none.
    """

    content: Mapping[str, str] | None = None
    artifact: str | None = None
    lora: Mapping[str, Any] | None = None

    def write(self, folder: Path) -> None:
        """Write it into a folder."""
        told = {name: value for name, value in asdict(self).items() if value is not None}
        (folder / NAME).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def name_base(folder: Path, content: Mapping[str, str], lora: Mapping[str, Any] | None = None) -> None:
    """Write into a prepared folder which weights it stands for.

    Args:
        content: what identifies them.
        lora: how the adapter was trained that the folder holds, if it holds one.
    """
    Base(dict(content), None, lora).write(folder)


def base_of(folder: Path) -> Base | None:
    """What a prepared folder says of weights that it does not hold; None where it holds them.

    Raises:
        VictimError: it cannot be read.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        base = Base(**json.loads(path.read_text(encoding="utf-8")))
        if (base.content is None) != (base.artifact is None):
            return base
        error: Exception = ValueError("names no weights")
    except (OSError, ValueError, TypeError) as found:
        error = found
    raise VictimError(f"{path}: damaged ({error}); delete the folder {folder} to have it made again")


def weights_of(folder: Path | str, origin: Origin | None = None) -> WeightsPlace:
    """Where the weights of a prepared folder lie.

    Args:
        origin: what weights may be named; not needed where the folder holds its own.

    Raises:
        VictimError: the folder names other weights than these.
    """
    folder = Path(folder)
    base = base_of(folder)
    if base is None:
        return WeightsPlace(str(folder))
    own = () if base.lora is None else (folder,)
    if base.artifact is not None:
        beneath = weights_of(_artifact(folder, base.artifact), origin)
        return replace(beneath, described_by=folder, adapters=(*beneath.adapters, *own))
    assert base.content is not None
    if origin is None:
        raise VictimError(f"{folder}: names weights that lie elsewhere ({NAME}); only its victim can open it")
    if base.content != dict(origin.content):
        names = {*base.content, *origin.content}
        differs = sorted(name for name in names if base.content.get(name) != origin.content.get(name))
        raise VictimError(
            f"{origin.name}: has changed since it was made ready ({', '.join(differs[:3])}); run again, so that it is "
            "identified by what it contains now"
        )
    given = () if origin.adapter is None else (origin.adapter,)
    return WeightsPlace(origin.source, origin.revision, folder, (*given, *own))


def _artifact(folder: Path, key: str) -> Path:
    """The artifact that lies in the same store, where ``folder`` may still be in the making."""
    for parent in folder.absolute().parents[:3]:
        if (parent / key / "config.json").is_file():
            return parent / key
    raise VictimError(
        f"{folder}: is based on the artifact {key}, which is missing next to it; delete {folder}, and run again"
    )
