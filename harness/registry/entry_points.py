"""The entry points by which installed packages offer plugins: which there are, and which the user has disabled."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from harness.isolation.import_limits import DISABLE_VARIABLE
from harness.registry.builtin_imports import DISTRIBUTION
from harness.registry.plugin_problem import FromPackage, PluginProblem, error_with_place, normalised_name

if TYPE_CHECKING:
    from importlib import metadata

GROUP = "harness"
_SECTION = f"[{GROUP}]"
_HEADER = re.compile(r"^(Name|Version): *(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class PluginEntryPoint(FromPackage):
    """An entry point of the group ``harness`` and the distribution that has it."""

    name: str
    value: str
    distribution: str
    version: str

    @property
    def point(self) -> metadata.EntryPoint:
        """As `importlib.metadata` has it, which takes as long to import as showing the help."""
        from importlib import metadata

        return metadata.EntryPoint(self.name, self.value, GROUP)

    def disabled_by(self, names: frozenset[str]) -> bool:
        """Whether one of the (normalised) names is the entry point's or the distribution's."""
        return bool({normalised_name(self.name), normalised_name(self.distribution)} & names)


def disabled_names() -> frozenset[str]:
    """The packages and entry points to leave out, by the environment variable `DISABLE_VARIABLE`; normalised."""
    written = os.environ.get(DISABLE_VARIABLE, "").split(",")
    return frozenset(normalised_name(name.strip()) for name in written if name.strip())


def installed_entry_points() -> tuple[list[PluginEntryPoint], list[PluginProblem]]:
    """Entry points of all distributions: ours first, so that nobody can take a built-in's name, then by name; and what
    is wrong with the metadata of those that have some in our group.
    """
    ours = _none_but_ours()
    return _of_all() if ours is None else (ours, [])


def _none_but_ours() -> list[PluginEntryPoint] | None:
    """Our own entry points where a look into the folders of ``sys.path`` shows that nobody else has any; None where
    somebody has, or where anything is unusual.
    """
    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        return None
    found: list[PluginEntryPoint] | None = None
    try:
        for place in sys.path:
            names = os.listdir(place or ".") if Path(place or ".").exists() else []  # noqa: PTH208 - names are enough
            for name in (name for name in names if name.lower().endswith((".dist-info", ".egg-info"))):
                file = Path(place or ".", name, "entry_points.txt")
                ours = name.startswith(DISTRIBUTION.replace("-", "_") + "-") and name.endswith(".dist-info")
                text = file.read_text(encoding="utf-8") if file.exists() else ""
                if (_SECTION in text) != ours:  # somebody else's, or ours without any, which would hide later ones
                    return None
                if ours and found is None:  # the first of a name is the one that gets imported
                    found = _written_points(file.with_name("METADATA").read_text(encoding="utf-8"), text)
    except (OSError, UnicodeError):  # a zip file, or what cannot be read
        return None
    return found


def _written_points(about: str, points: str) -> list[PluginEntryPoint] | None:
    """Those of our group in a distribution's two files; None where the files are not as expected."""
    header = dict(_HEADER.findall(about.partition("\n\n")[0]))
    lines = [line.strip() for line in points.partition(_SECTION)[2].partition("\n[")[0].splitlines()]
    pairs = [[part.strip() for part in line.split("=")] for line in lines if line and not line.startswith("#")]
    if header.keys() != {"Name", "Version"} or not pairs or any(len(pair) != 2 for pair in pairs):
        return None
    found = [PluginEntryPoint(name, value, header["Name"], header["Version"]) for name, value in pairs]
    return sorted(found, key=lambda point: point.name)


def _of_all() -> tuple[list[PluginEntryPoint], list[PluginProblem]]:
    """The same, as `importlib.metadata` finds them."""
    from importlib import metadata

    seen: dict[str, list[PluginEntryPoint]] = {}
    problems: list[PluginProblem] = []
    for distribution in metadata.distributions():
        try:
            if _SECTION not in (distribution.read_text("entry_points.txt") or ""):
                seen.setdefault(_name(distribution), [])
                continue
            name, version = distribution.metadata["Name"], distribution.version
            points = [point for point in distribution.entry_points if point.group == GROUP]
            # The first distribution of a name on the path is the one that gets imported.
            seen.setdefault(
                normalised_name(name), [PluginEntryPoint(point.name, point.value, name, version) for point in points]
            )
        except Exception as error:
            problems += _unreadable(distribution, error)
    ordered = sorted(seen, key=lambda key: (key != DISTRIBUTION, key))
    return [found for key in ordered for found in sorted(seen[key], key=lambda found: found.name)], problems


def _name(distribution: metadata.Distribution) -> str:
    """Its normalised name: that of its folder where it has one, since parsing the metadata of a whole environment takes
    longer than all the rest of finding plugins.
    """
    folder = Path(str(getattr(distribution, "_path", "")))
    if folder.suffix == ".dist-info" and "-" in folder.stem:
        return normalised_name(folder.stem.rpartition("-")[0])
    return normalised_name(distribution.metadata["Name"])


def _unreadable(distribution: metadata.Distribution, error: Exception) -> list[PluginProblem]:
    """The problem with a distribution whose metadata cannot be read; none where it is no concern of ours."""
    with contextlib.suppress(Exception):  # it is broken: anything may be
        if _SECTION not in (distribution.read_text("entry_points.txt") or ""):
            return []
        folder = Path(str(getattr(distribution, "_path", "?")))
        if not (folder / "METADATA").exists() and not (folder / "PKG-INFO").exists():
            return []  # what an installer left behind
        name = folder.stem.split("-")[0]
        if normalised_name(name) not in disabled_names():
            cause = f"the metadata in {folder} cannot be read ({error_with_place(error)}); install it again"
            return [PluginProblem(name, "?", cause)]
    return []
