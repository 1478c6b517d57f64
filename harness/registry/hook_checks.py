"""Whether a module's hooks are ones that the harness knows. pluggy would pass over a misspelt one in silence."""

from __future__ import annotations

import inspect
from functools import cache
from types import FunctionType, MethodType, ModuleType
from typing import Any

import pluggy

from harness.api import hooks
from harness.errors import PluginError, did_you_mean

HOOKS = frozenset(name for name in vars(hooks) if name.startswith("harness_"))


_MARK = f"{hooks.NAMESPACE}_impl"  # what pluggy's marker sets on a function


class _Manager(pluggy.PluginManager):
    """Passes over what cannot be a hook without pluggy's search through the classes of every attribute, which would
    take half the time of loading all plugins.
    """

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        if type(plugin) is ModuleType:
            value = vars(plugin).get(name)
            marked = hasattr(value, _MARK) if isinstance(value, FunctionType) else True
            if not marked or not isinstance(value, FunctionType | MethodType | staticmethod | classmethod):
                return None
        return super().parse_hookimpl_opts(plugin, name)

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        return super().parse_hookspec_opts(module_or_class, name) if name in HOOKS else None


def new_plugin_manager() -> pluggy.PluginManager:
    """A plugin manager that knows the hooks and no plugin."""
    manager = _Manager(hooks.NAMESPACE)
    manager.add_hookspecs(hooks)
    return manager


@cache
def _empty_manager() -> pluggy.PluginManager:
    return new_plugin_manager()


def check_hooks(plugin: Any, name: str) -> frozenset[str]:
    """The hooks that a module (or object) called ``name`` implements.

    Raises:
        PluginError: there are none, or one is misspelt, unmarked or takes a wrong argument; names the function, the
            module and the fix.
    """
    manager = _empty_manager()  # only reads marks
    found = set()
    for attribute in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, attribute)
        if options is None:
            if attribute in HOOKS and inspect.isfunction(getattr(plugin, attribute)):
                raise PluginError(f"function {attribute} of '{name}' is not marked as a hook; put @hookimpl above it")
            continue
        hook = options.get("specname") or attribute
        if hook not in HOOKS:
            known = f"known: {', '.join(sorted(HOOKS))}"
            raise PluginError(
                f"function {attribute} of '{name}' is not a known hook{did_you_mean(hook, HOOKS)}; {known}"
            )
        _check_arguments(plugin, attribute, hook, name)
        found.add(hook)
    if not found:
        raise PluginError(f"'{name}' has no function marked with @hookimpl, so it registers nothing")
    return frozenset(found)


def _check_arguments(plugin: Any, attribute: str, hook: str, name: str) -> None:
    wanted = inspect.signature(getattr(hooks, hook)).parameters
    for parameter in inspect.signature(getattr(plugin, attribute)).parameters.values():
        if parameter.name not in wanted and parameter.default is parameter.empty:
            hint = did_you_mean(parameter.name, wanted)
            takes = f"this hook takes ({', '.join(wanted)})"
            raise PluginError(f"function {attribute} of '{name}' has an argument '{parameter.name}'{hint}; {takes}")
