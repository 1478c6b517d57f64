"""Plugin packages: which are installed, which are disabled, and what is wrong with those that cannot be used."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import traceback
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.errors import PluginError
from harness.isolation import process_state
from harness.isolation.import_guard import DISABLE, guarded
from harness.registry.builtin_imports import DISTRIBUTION, import_own
from harness.registry.hook_checks import check_hooks

GROUP = "harness"
LONGEST = 500  # characters of an error that is shown
_BASES = tuple(f"harness.api.{kind}" for kind in ("task", "victim", "attack", "defense", "judge"))


@dataclass(frozen=True)
class PluginProblem:
    """A plugin package, or one module of it, that was left out, or does what it should not; the rest works."""

    package: str
    version: str
    cause: str
    left_out: bool = True

    def __str__(self) -> str:
        mend = f"mend or uninstall it, or set {DISABLE}={self.package} to leave it out without this warning"
        if not self.left_out:
            mend = f"it is used all the same; mend it, or set {DISABLE}={self.package} to leave it out"
        if self.package == DISTRIBUTION:
            mend = "this belongs to the harness itself: install it again, or report it"
        return f"plugin package {self.package} {self.version}: {self.cause} ({mend})"


@dataclass(frozen=True)
class Source:
    """Something with hooks, not yet looked at.

    Attributes:
        plugin: the module or object that has the hooks.
        name: of the module, for messages.
    """

    plugin: Any
    name: str
    distribution: str
    version: str

    def problem(self, cause: str, *, left_out: bool = True) -> PluginProblem:
        """A problem with this source."""
        return PluginProblem(self.distribution, self.version, cause, left_out)


@dataclass(frozen=True)
class FoundPlugins:
    """An entry point of the group ``harness`` and its distribution."""

    point: metadata.EntryPoint
    distribution: str
    version: str

    def problem(self, cause: str, *, left_out: bool = True) -> PluginProblem:
        """A problem with this entry point."""
        return PluginProblem(self.distribution, self.version, cause, left_out)

    def disabled_by(self, names: frozenset[str]) -> bool:
        """Whether one of the (normalised) names is the entry point's or the distribution's."""
        return bool({normalised(self.point.name), normalised(self.distribution)} & names)


@dataclass(frozen=True)
class Packages:
    """What the installed entry points gave, in the order in which it is to be registered, and what failed."""

    sources: list[Source] = field(default_factory=list)
    problems: list[PluginProblem] = field(default_factory=list)


def normalised(name: str) -> str:
    """Spelling of a distribution name by which two are compared, as in PyPA's specification."""
    return re.sub(r"[-_.]+", "-", name).strip().lower()


def disabled() -> frozenset[str]:
    """What the environment says to leave out."""
    return frozenset(normalised(name.strip()) for name in os.environ.get(DISABLE, "").split(",") if name.strip())


def installed() -> tuple[list[FoundPlugins], list[PluginProblem]]:
    """Entry points of all distributions: ours first, so that nobody can take a built-in's name, then by name; and what
    is wrong with the metadata of those that have some in our group.
    """
    seen: dict[str, list[FoundPlugins]] = {}
    problems: list[PluginProblem] = []
    for distribution in metadata.distributions():
        try:
            if f"[{GROUP}]" not in (distribution.read_text("entry_points.txt") or ""):
                seen.setdefault(_name(distribution), [])
                continue
            name, version = distribution.metadata["Name"], distribution.version
            points = [FoundPlugins(point, name, version) for point in distribution.entry_points if point.group == GROUP]
            seen.setdefault(normalised(name), points)  # the first on the path is the one that gets imported
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
        return normalised(folder.stem.rpartition("-")[0])
    return normalised(distribution.metadata["Name"])


def _unreadable(distribution: metadata.Distribution, error: Exception) -> list[PluginProblem]:
    """The problem with a distribution whose metadata cannot be read; none where it is no concern of ours."""
    with contextlib.suppress(Exception):  # it is broken: anything may be
        if f"[{GROUP}]" not in (distribution.read_text("entry_points.txt") or ""):
            return []
        folder = Path(str(getattr(distribution, "_path", "?")))
        if not (folder / "METADATA").exists() and not (folder / "PKG-INFO").exists():
            return []  # what an installer left behind
        name = folder.stem.split("-")[0]
        if normalised(name) not in disabled():
            cause = f"the metadata in {folder} cannot be read ({in_one_line(error)}); install it again"
            return [PluginProblem(name, "?", cause)]
    return []


def import_packages() -> Packages:
    """Import what every enabled entry point names; one that fails is a problem, not an error."""
    packages = Packages()
    leave_out = disabled()
    everything, unreadable = installed()
    packages.problems.extend(unreadable)
    if not any(normalised(found.distribution) == DISTRIBUTION for found in everything):
        cause = "its entry points are not found, so there are no built-in plugins"
        packages.problems.append(PluginProblem(DISTRIBUTION, "?", cause))
    enabled = [found for found in everything if not found.disabled_by(leave_out)]
    if any(normalised(found.distribution) != DISTRIBUTION for found in enabled):
        for name in _BASES:  # or the first of them would be blamed for the time that ours take to import
            importlib.import_module(name)
    for found in enabled:
        _import(found, packages)
    return packages


def _import(found: FoundPlugins, packages: Packages) -> None:
    point = found.point
    replaced = None
    notes: list[str] = []
    try:
        with guarded(found.distribution) as notes:
            if normalised(found.distribution) == DISTRIBUTION:
                plugin, replaced = import_own(point.module)
            else:
                plugin = point.load()
            check_hooks(plugin, point.value)
    except KeyboardInterrupt:
        raise
    except PluginError as error:
        packages.problems.append(found.problem(str(error)))
        return
    except BaseException as error:  # a package that calls sys.exit on import must not end the others either
        packages.problems.append(found.problem(f"importing '{point.value}' failed: {in_one_line(error)}"))
        return
    finally:
        packages.problems.extend(noted(found, notes))
    if replaced is not None:
        cause = (
            f"another module called '{point.module}' ({replaced}) had been imported and was replaced by ours; rename it"
        )
        packages.problems.append(found.problem(cause))
    twin = next((other for other in packages.sources if other.plugin is plugin), None)
    if twin is None:
        packages.sources.append(Source(plugin, point.value, found.distribution, found.version))
    elif twin.distribution != found.distribution:
        cause = f"its module '{point.value}' has the name of one that {twin.distribution} brings; rename it"
        packages.problems.append(found.problem(cause))


def noted(of: FoundPlugins | Source, notes: list[str]) -> list[PluginProblem]:
    """What a package did while it was imported or registered, as problems; of ours nothing is told."""
    if normalised(of.distribution) == DISTRIBUTION:
        return []
    return [of.problem(note, left_out=False) for note in notes]


def in_one_line(error: BaseException) -> str:
    """Type, message and place of an exception, in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # an exception of the plugin's own
        text = "its message cannot be shown"
    text = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    if isinstance(error, SyntaxError):  # its message has the place already, its traceback only ours
        return f"{type(error).__name__}: {text}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_machinery(frame.filename)]
    where = f" [{frames[-1].filename}:{frames[-1].lineno}]" if frames else ""
    return f"{type(error).__name__}{': ' + text if text else ''}{where}"


def _is_machinery(filename: str) -> bool:
    path = Path(filename)
    return (
        filename.startswith("<")
        or "importlib" in path.parts
        or "pluggy" in path.parts
        or path.parent in (Path(__file__).parent, Path(process_state.__file__).parent)
    )
