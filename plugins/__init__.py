"""The built-in plugins, registered through the same hooks as anybody else's: one plugin, one file.

Every module in the five folders and in folders inside them is loaded; those whose names start with an underscore are
helpers and are not.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from pathlib import Path

from harness import hookimpl

_FOLDERS = ("tasks", "victims", "attacks", "defenses", "judges")


RESULTS_VERSION = "0.1.0"
"""The release in which a built-in plugin last gave other numbers than before, for parameters that it took before."""


@hookimpl
def harness_results_version() -> str:
    """`RESULTS_VERSION`, so that a release that changes no number makes nothing anew."""
    return RESULTS_VERSION


@hookimpl
def harness_plugin_modules() -> list[str]:
    """All plugin modules, found by listing the folders, so that a new plugin touches one file."""
    return [
        module
        for folder in _FOLDERS
        for place in __path__
        for module in _modules(Path(place) / folder, f"{__name__}.{folder}")
    ]


def _modules(folder: Path, package: str) -> Iterator[str]:
    for module in pkgutil.iter_modules([str(folder)]):
        name = f"{package}.{module.name}"
        if not module.name.startswith("_"):
            yield from _modules(folder / module.name, name) if module.ispkg else [name]
