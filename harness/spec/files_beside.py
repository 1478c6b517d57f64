"""Small files that a spec's victims name, such as chat templates: whoever repeats a run needs them beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.spec.load import LoadedSpec

MAX_CHARS = 1_000_000


def files_beside(spec: LoadedSpec) -> dict[str, str]:
    """Their texts by path from the spec's folder. What lies outside it, or cannot be read, is left out."""
    folder = spec.path.parent.absolute()
    found: dict[str, str] = {}
    for cell in spec.cells:
        for file in cell.victim.plugin.files_beside_spec():
            if not file.is_relative_to(folder):
                continue
            try:
                found[file.relative_to(folder).as_posix()] = file.read_text(encoding="utf-8")
            except (OSError, ValueError):
                continue  # whoever opens the victim says what is wrong with it
    return checked_files(found)


def checked_files(data: object) -> dict[str, str]:
    """Of such files, as a run says them, those whose path stays in one folder and whose text is of a fair length."""
    if not isinstance(data, Mapping):
        return {}
    return {path: text for path, text in data.items() if _stays_inside(path) and _fair(text)}


def _stays_inside(path: Any) -> bool:
    if not isinstance(path, str) or not path or "\\" in path or not path.isprintable():
        return False
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and bool(pure.name)


def _fair(text: Any) -> bool:
    return isinstance(text, str) and len(text) <= MAX_CHARS
