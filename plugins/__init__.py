"""The built-in plugins, registered through the same hooks as anybody else's: one plugin, one file.

Every module in the five folders is loaded; those whose names start with an underscore are helpers and are not.
"""

from __future__ import annotations

import pkgutil
from pathlib import Path

from harness import hookimpl

_FOLDERS = ("tasks", "victims", "attacks", "defenses", "judges")


@hookimpl
def harness_plugin_modules() -> list[str]:
    """All plugin modules, found by listing the folders, so that a new plugin touches one file."""
    return [
        f"{__name__}.{folder}.{module.name}"
        for folder in _FOLDERS
        for module in pkgutil.iter_modules([str(Path(place) / folder) for place in __path__])
        if not module.name.startswith("_")
    ]
