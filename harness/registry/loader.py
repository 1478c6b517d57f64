"""From installed packages and named files to a registry: each module is registered whole or not at all."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pluggy
from packaging.version import InvalidVersion, Version

from harness.api.plugin import KINDS, Kind
from harness.errors import PluginError
from harness.isolation.import_limits import guard_plugin_code
from harness.isolation.process_state import collection_paused
from harness.registry.hook_checks import check_hooks, new_plugin_manager
from harness.registry.package_imports import ImportedPackages, PluginModule, import_packages
from harness.registry.plugin_file import import_file
from harness.registry.plugin_problem import PluginProblem, error_with_place
from harness.registry.registry import Registry


@dataclass
class LoadedPlugins:
    """What could be loaded, and what could not.

    Attributes:
        manager: pluggy's, with every module that passed.
        problems: packages or modules that were left out.
    """

    registry: Registry = field(default_factory=Registry)
    manager: pluggy.PluginManager = field(default_factory=new_plugin_manager)
    problems: list[PluginProblem] = field(default_factory=list)


@collection_paused()
def load_plugins(files: Iterable[str | Path] = (), packages: ImportedPackages | None = None) -> LoadedPlugins:
    """Load every installed plugin package and the named files.

    A package or module that is broken is left out, with all it would have registered, and is reported in
    `Loaded.problems`.

    Args:
        files: Python files that hold plugins.
        packages: the installed packages where they have been imported already.

    Raises:
        PluginError: a file in ``files`` cannot be used; the user named it, so going on without it would mislead.
    """
    packages = import_packages() if packages is None else packages
    loaded = LoadedPlugins(problems=list(packages.problems))
    for module in packages.modules:
        _load(module, loaded)
    for path in dict.fromkeys(Path(file).expanduser().resolve() for file in files):
        module = import_file(path)
        try:
            names, results_version = _register(module, loaded)
            if results_version is not None:
                raise PluginError("harness_results_version is for installed packages; a file is known by its hash")
            if names:
                # Other modules' content is not in the file's hash, so their results could not be told apart.
                raise PluginError("harness_plugin_modules is for installed packages; a file holds its own plugins")
        except PluginError as error:
            raise PluginError(f"--plugin {path}: {error}") from error
    return loaded


def _load(module: PluginModule, loaded: LoadedPlugins) -> None:
    """Register a module and those it lists; what is wrong with one of them does not touch the others."""
    if loaded.manager.is_registered(module.plugin):
        return
    try:
        names, results_version = _register(module, loaded)
    except PluginError as error:
        loaded.problems.append(module.problem(" ".join(str(error).split())))
        return
    for name in names:
        notes: list[str] = []
        try:
            with guard_plugin_code(module.distribution, ours=module.builtin) as notes:
                listed = importlib.import_module(name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            loaded.problems.append(module.problem(f"importing '{name}' failed: {error_with_place(error)}"))
        else:
            _load(PluginModule(listed, name, module.distribution, module.version, results_version), loaded)
        finally:
            loaded.problems += module.side_effects(notes)


def _register(module: PluginModule, loaded: LoadedPlugins) -> tuple[list[str], str | None]:
    """Let a module register on a manager of its own; take over what it registered only when nothing went wrong.

    Returns the names of the further modules it lists, and the version of its results where it or its package says one.
    """
    trial, staged = new_plugin_manager(), loaded.registry.copy()
    notes: list[str] = []
    try:
        check_hooks(module.plugin, module.name)
        with guard_plugin_code(module.distribution, ours=module.builtin) as notes:
            trial.register(module.plugin)
            stated = [_results_version(version, module) for version in trial.hook.harness_results_version()]
            results_version = stated[0] if stated else module.results_version
            module = replace(module, results_version=results_version)
            for kind in KINDS:
                getattr(trial.hook, f"harness_register_{kind}s")(register=_registrar(kind, module, staged))
            names = [name for listed in trial.hook.harness_plugin_modules() for name in _module_names(listed)]
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:
        raise PluginError(f"'{module.name}' failed while registering: {error_with_place(error)}") from error
    finally:
        loaded.problems += module.side_effects(notes)
    loaded.manager.register(module.plugin)
    loaded.registry = staged
    return names, results_version


def _module_names(listed: Any) -> list[str]:
    names = [listed] if isinstance(listed, str) else list(listed)
    if not all(isinstance(name, str) for name in names):
        raise PluginError("harness_plugin_modules gives dotted names of modules, as strings")
    return names


def _results_version(stated: Any, module: PluginModule) -> str:
    version, own = _parsed(stated), _parsed(module.version)
    if version is None:
        raise PluginError(f"harness_results_version gives {stated!a:.40}; it must give a version, such as '1.2.0'")
    if own is not None and version > own:
        raise PluginError(
            f"harness_results_version gives {stated!a:.40}, which is later than the package's own {module.version}; "
            "give the release in which numbers last changed"
        )
    return str(stated).strip()


def _parsed(version: Any) -> Version | None:
    """None of what is no version, as the hash of a plugin file."""
    try:
        return Version(version)
    except (InvalidVersion, TypeError):
        return None


def _registrar(kind: Kind, module: PluginModule, registry: Registry) -> Callable[[Any], None]:
    def register(cls: Any) -> None:
        registry.add(kind, cls, module.distribution, module.version, module.results_version)
        if not module.builtin:  # ours are built when they are first used
            cls.Params.model_rebuild()

    return register
