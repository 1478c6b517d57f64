"""The specs that come with the distribution: each version is frozen, and found by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from harness.errors import SpecError, did_you_mean
from harness.hashing import content_key, path_digest
from harness.number_format import counted, format_flops
from harness.spec.yaml_file import read_yaml_file

FOLDER = Path(__file__).parents[1] / "shipped"
"""Of the specs and `INDEX`: in the source tree a link to `specs/`."""
INDEX = "released.json"


@dataclass(frozen=True, slots=True)
class Work:
    """What is computed on one sort of device, in nominal FLOPs.

    Attributes:
        device: as in a victim's parameters: ``cpu``, ``auto``, ...
        training: whether it is for models to be made, rather than for attacks.
    """

    device: str
    training: bool
    flops: float


@dataclass(frozen=True, slots=True)
class ReleasedSpec:
    """One version of a spec that comes with the distribution, and what it asks of whoever runs it.

    Attributes:
        name: of one in a subfolder with the folder's: ``study/spam``.
        file: its path within the folder of specs.
        hash: of what the spec and the files that it names say (`content_hash`).
        summary: in one line.
        cells: how many it has.
        work: what it computes, from a plan; empty where no plan could be made without a hub.
        memory: the most that one process takes, in bytes; None where unknown.
        needs: what must be there or be downloaded, besides the distribution and its dependencies.
        unknown: pieces of work that have no estimate, since a model's size is not known; they are not in ``work``.
    """

    name: str
    version: str
    file: str
    hash: str
    summary: str
    cells: int
    work: tuple[Work, ...]
    memory: float | None
    needs: tuple[str, ...]
    unknown: int = 0

    @property
    def flops(self) -> float | None:
        """Nominal FLOPs of the whole run; None where unknown."""
        return sum(part.flops for part in self.work) or None


def flops_text(spec: ReleasedSpec) -> str:
    """What a spec computes, in words."""
    found = format_flops(spec.flops)
    return f"{found} + {counted(spec.unknown, 'unknown stage')}" if spec.unknown and spec.flops else found


def released_specs(folder: Path = FOLDER) -> list[ReleasedSpec]:
    """All versions, older ones of a name first.

    Raises:
        SpecError: the index cannot be read.
    """
    try:
        rows = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return [
            ReleasedSpec(**row | {"work": tuple(Work(**part) for part in row["work"]), "needs": tuple(row["needs"])})
            for row in rows
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SpecError(f"{folder / INDEX}: cannot be read ({error}); install the harness again") from None


def find_released(name: str, folder: Path = FOLDER) -> ReleasedSpec:
    """The newest version of a released spec, or with ``NAME@VERSION`` that one.

    Raises:
        SpecError: there is none; names those that there are.
    """
    found = released_specs(folder)
    plain, _, version = name.partition("@")
    of_name = [one for one in found if one.name == plain]
    chosen = [one for one in of_name if not version or one.version == version]
    if chosen:
        return chosen[-1]
    if of_name:
        raise SpecError(f"{plain}: no version {version!r}; released are {', '.join(one.version for one in of_name)}")
    names = sorted({one.name for one in found})
    raise SpecError(f"{name}: no released spec{did_you_mean(plain, names)}; released are {', '.join(names)}")


def spec_path(given: Path, folder: Path = FOLDER) -> Path:
    """The file of a spec that is given as a file, or by the name of a released one. A file that is there comes first.

    Raises:
        SpecError: there is neither a file nor a released spec of that name.
    """
    text = given.as_posix()
    if given.is_file() or given.suffix in (".yaml", ".yml") or not _may_be_released(given, folder):
        return given  # a missing file is told where it is read
    try:
        return folder / find_released(text, folder).file
    except SpecError as error:
        raise SpecError(f"{text}: no such file, and {str(error).partition(': ')[2]}") from None


def _may_be_released(given: Path, folder: Path) -> bool:
    """Whether it is a name alone, or one in a folder of released specs: ``study/spam``."""
    folders = {one.name.rpartition("/")[0] for one in released_specs(folder)}
    return not given.is_absolute() and given.parent.as_posix() in {".", *folders}


def content_hash(path: Path) -> str:
    """sha256 of what a spec says, and of the files next to it that it names; 64 hexadecimal digits. Comments and
    formatting do not count.
    """
    data = read_yaml_file(path).data
    files = {text: path_digest(path.parent / text) for text in _texts(data) if _is_file(path.parent / text)}
    return content_key([cast(Any, data), files], 64)


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for value in data.values():
            yield from _texts(value)
    elif isinstance(data, list):
        for value in data:
            yield from _texts(value)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # longer than a path may be, or a NUL character
        return False
