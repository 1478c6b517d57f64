"""Plugin packages: which are installed, which are disabled, and what is wrong with those that cannot be used."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.errors import PluginError
from harness.registry.hookcheck import check_hooks
from harness.registry.own import DISTRIBUTION, import_own

GROUP = "harness"
DISABLE = "HARNESS_DISABLE_PLUGINS"


@dataclass(frozen=True)
class PluginProblem:
    """A plugin package, or one module of it, that was left out; the rest works."""

    package: str
    version: str
    cause: str

    def __str__(self) -> str:
        mend = f"mend or uninstall it, or set {DISABLE}={self.package} to leave it out without this warning"
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

    def problem(self, cause: str) -> PluginProblem:
        """A problem with this source."""
        return PluginProblem(self.distribution, self.version, cause)


@dataclass(frozen=True)
class Found:
    """An entry point of the group ``harness`` and its distribution."""

    point: metadata.EntryPoint
    distribution: str
    version: str

    def problem(self, cause: str) -> PluginProblem:
        """A problem with this entry point."""
        return PluginProblem(self.distribution, self.version, cause)

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


def installed() -> Iterator[Found]:
    """Entry points of all distributions: ours first, so that nobody can take a built-in's name, then by name."""
    seen: dict[str, list[Found]] = {}
    for distribution in metadata.distributions():
        # Without readable metadata it is what an installer left behind, and no concern of ours.
        with contextlib.suppress(Exception):
            name, version = distribution.metadata["Name"], distribution.version
            points = [Found(point, name, version) for point in distribution.entry_points if point.group == GROUP]
            seen.setdefault(normalised(name), points)  # the first on the path is the one that gets imported
    for key in sorted(seen, key=lambda key: (key != DISTRIBUTION, key)):
        yield from sorted(seen[key], key=lambda found: found.point.name)


def import_packages() -> Packages:
    """Import what every enabled entry point names; one that fails is a problem, not an error."""
    packages = Packages()
    leave_out = disabled()
    everything = list(installed())
    if not any(normalised(found.distribution) == DISTRIBUTION for found in everything):
        cause = "its entry points are not found, so there are no built-in plugins"
        packages.problems.append(PluginProblem(DISTRIBUTION, "?", cause))
    for found in everything:
        if not found.disabled_by(leave_out):
            _import(found, packages)
    return packages


def _import(found: Found, packages: Packages) -> None:
    point = found.point
    replaced = None
    try:
        with quiet_stdout():
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


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """While this lasts, what plugin code prints goes to stderr: stdout may be somebody's JSON."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def in_one_line(error: BaseException) -> str:
    """Type, message and place of an exception, in one line."""
    text = " ".join(str(error).split())
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
        or path.parent == Path(__file__).parent
    )
