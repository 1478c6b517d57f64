"""Small files that a spec's victims name, such as chat templates: whoever repeats a run needs them beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.spec.load import LoadedSpec

MAX_CHARS = 1_000_000


def files_beside(spec: LoadedSpec) -> dict[str, str]:
    """Their texts by path from the spec's folder. What lies outside it, is long or cannot be read is left out."""
    folder = spec.path.parent.resolve()
    found: dict[str, str] = {}
    for cell in spec.cells:
        for file in cell.victim.plugin.files_beside_spec():
            place = file.resolve()
            if not place.is_relative_to(folder):
                continue
            try:
                text = place.read_text(encoding="utf-8")
            except (OSError, ValueError):
                continue  # whoever opens the victim says what is wrong with it
            if len(text) <= MAX_CHARS:
                found[place.relative_to(folder).as_posix()] = text
    return found
