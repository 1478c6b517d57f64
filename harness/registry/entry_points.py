"""The entry points by which installed packages offer plugins: which there are, and which the user has disabled."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness.isolation.import_limits import DISABLE_VARIABLE
from harness.registry.builtin_imports import DISTRIBUTION
from harness.registry.plugin_problem import FromPackage, PluginProblem, error_with_place, normalised_name

GROUP = "harness"


@dataclass(frozen=True)
class PluginEntryPoint(FromPackage):
    """An entry point of the group ``harness`` and the distribution that has it."""

    point: metadata.EntryPoint
    distribution: str
    version: str

    def disabled_by(self, names: frozenset[str]) -> bool:
        """Whether one of the (normalised) names is the entry point's or the distribution's."""
        return bool({normalised_name(self.point.name), normalised_name(self.distribution)} & names)


def disabled_names() -> frozenset[str]:
    """The packages and entry points to leave out, by the environment variable `DISABLE_VARIABLE`; normalised."""
    written = os.environ.get(DISABLE_VARIABLE, "").split(",")
    return frozenset(normalised_name(name.strip()) for name in written if name.strip())


def installed_entry_points() -> tuple[list[PluginEntryPoint], list[PluginProblem]]:
    """Entry points of all distributions: ours first, so that nobody can take a built-in's name, then by name; and what
    is wrong with the metadata of those that have some in our group.
    """
    seen: dict[str, list[PluginEntryPoint]] = {}
    problems: list[PluginProblem] = []
    for distribution in metadata.distributions():
        try:
            if f"[{GROUP}]" not in (distribution.read_text("entry_points.txt") or ""):
                seen.setdefault(_name(distribution), [])
                continue
            name, version = distribution.metadata["Name"], distribution.version
            points = [point for point in distribution.entry_points if point.group == GROUP]
            # The first distribution of a name on the path is the one that gets imported.
            seen.setdefault(normalised_name(name), [PluginEntryPoint(point, name, version) for point in points])
        except Exception as error:
            problems += _unreadable(distribution, error)
    ordered = sorted(seen, key=lambda key: (key != DISTRIBUTION, key))
    return [found for key in ordered for found in sorted(seen[key], key=lambda found: found.point.name)], problems


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
        if f"[{GROUP}]" not in (distribution.read_text("entry_points.txt") or ""):
            return []
        folder = Path(str(getattr(distribution, "_path", "?")))
        if not (folder / "METADATA").exists() and not (folder / "PKG-INFO").exists():
            return []  # what an installer left behind
        name = folder.stem.split("-")[0]
        if normalised_name(name) not in disabled_names():
            cause = f"the metadata in {folder} cannot be read ({error_with_place(error)}); install it again"
            return [PluginProblem(name, "?", cause)]
    return []
