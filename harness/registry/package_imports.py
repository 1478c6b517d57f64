"""Imports what installed plugin packages name as entry points; one that fails is a problem, not an error."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

from harness.errors import PluginError
from harness.isolation.import_limits import guard_plugin_code
from harness.registry.builtin_imports import DISTRIBUTION, import_builtin
from harness.registry.entry_points import PluginEntryPoint, disabled_names, installed_entry_points
from harness.registry.hook_checks import check_hooks
from harness.registry.plugin_problem import FromPackage, PluginProblem, error_with_place

_BASES = tuple(f"harness.api.{kind}" for kind in ("task", "victim", "attack", "defense", "judge"))


@dataclass(frozen=True)
class PluginModule(FromPackage):
    """Something with hooks, not registered yet.

    Attributes:
        plugin: the module or object that has the hooks.
        name: of the module, for messages.
        results_version: that of the package whose modules it lists; None: it says so itself, or has none.
    """

    plugin: Any
    name: str
    distribution: str
    version: str
    results_version: str | None = None


@dataclass(frozen=True)
class ImportedPackages:
    """What the installed entry points gave, in the order in which it is to be registered, and what failed."""

    modules: list[PluginModule] = field(default_factory=list)
    problems: list[PluginProblem] = field(default_factory=list)


def import_packages() -> ImportedPackages:
    """Import the module that each installed entry point names, except disabled ones."""
    packages = ImportedPackages()
    disabled = disabled_names()
    points, unreadable = installed_entry_points()
    packages.problems.extend(unreadable)
    if not any(point.builtin for point in points):
        cause = "its entry points are not found, so there are no built-in plugins"
        packages.problems.append(PluginProblem(DISTRIBUTION, "?", cause))
    enabled = [point for point in points if not point.disabled_by(disabled)]
    if not all(point.builtin for point in enabled):
        for name in _BASES:  # or the first of them would be blamed for the time that ours take to import
            importlib.import_module(name)
    for point in enabled:
        _import(point, packages)
    return packages


def _import(found: PluginEntryPoint, packages: ImportedPackages) -> None:
    point = found.point
    replaced = None
    notes: list[str] = []
    try:
        with guard_plugin_code(found.distribution, ours=found.builtin) as notes:
            if found.builtin:
                plugin, replaced = import_builtin(point.module)
            else:
                plugin = point.load()
            check_hooks(plugin, point.value)
    except KeyboardInterrupt:
        raise
    except PluginError as error:
        packages.problems.append(found.problem(str(error)))
        return
    except BaseException as error:  # a package that calls sys.exit on import must not end the others either
        packages.problems.append(found.problem(f"importing '{point.value}' failed: {error_with_place(error)}"))
        return
    finally:
        packages.problems.extend(found.side_effects(notes))
    if replaced is not None:
        cause = (
            f"another module called '{point.module}' ({replaced}) had been imported and was replaced by ours; rename it"
        )
        packages.problems.append(found.problem(cause))
    twin = next((other for other in packages.modules if other.plugin is plugin), None)
    if twin is None:
        packages.modules.append(PluginModule(plugin, point.value, found.distribution, found.version))
    elif twin.distribution != found.distribution:
        cause = f"its module '{point.value}' has the same name as one that {twin.distribution} brings; rename it"
        packages.problems.append(found.problem(cause))
