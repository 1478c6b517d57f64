"""The plugin under test: its class, its parameters, and fresh instances of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harness.api.plugin import Kind, Plugin
from harness.api.refs import PluginRef, RefTo
from harness.errors import PluginError
from harness.registry.param_errors import ParamsError
from harness.registry.registry import Registry
from harness.registry.resolved_plugin import ResolvedPlugin


@dataclass(frozen=True)
class Subject:
    """A plugin that is checked.

    Attributes:
        kind, name, cls: of the plugin.
        params: as in a spec; what is left out is at its default.
        registry: the plugins that the parameters may name.
        examples: how many random cases a check tries.
        kept: what checks share, such as a model that took a while to train.
    """

    kind: Kind
    name: str
    cls: type[Plugin]
    registry: Registry
    params: dict[str, Any]
    examples: int = 24
    kept: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def chosen(self, **changes: Any) -> ResolvedPlugin:
        """A fresh instance, with some parameters replaced where it has such. Raises PluginError."""
        return self.registry.resolve(self.kind, PluginRef(name=self.name, params=self.params | changes))

    def fresh(self, **changes: Any) -> Any:
        """The plugin of `chosen`."""
        return self.chosen(**changes).plugin

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def subject_of(
    plugin: type[Plugin] | str, params: dict[str, Any] | None = None, registry: Registry | None = None, **options: Any
) -> Subject:
    """The subject for a class, or for an installed plugin by ``name`` or ``kind/name``.

    Args:
        params: of the plugin; required ones that name other plugins are filled in with any that need no parameters.
        registry: by default that of the installed plugins.
        options: further fields of `Subject`.

    Raises:
        PluginError: no such plugin, or parameters are missing or wrong.
    """
    if registry is None:
        from harness.registry.loader import load_plugins

        registry = load_plugins().registry
    if isinstance(plugin, str):
        entry = find_plugin(registry, plugin)
        kind, name, cls = entry.kind, entry.name, entry.cls
    else:
        kind, name, cls = plugin.kind, plugin.name, plugin
        registry = _replacing(registry, kind, cls)
    subject = Subject(kind, name, cls, registry, _with_required(cls, dict(params or {}), registry), **options)
    try:
        subject.chosen()
    except ParamsError as error:
        missing = [str(place[-1]) for place, text in error.problems if text == "is required"]
        hint = f"; give them, such as --params '{{{missing[0]}: ...}}'" if missing else ""
        raise PluginError(f"{error}{hint}") from None
    return subject


def find_plugin(registry: Registry, name: str) -> Any:
    """The entry of that ``name`` or ``kind/name``. Raises PluginError where there is none, or are several."""
    kind, _, rest = name.rpartition("/")
    entries = [entry for entry in registry.entries() if entry.name == rest and kind in ("", entry.kind)]
    if len(entries) > 1:
        raise PluginError(f"several plugins are called '{name}': {', '.join(f'{e.kind}/{e.name}' for e in entries)}")
    if not entries:
        known = ", ".join(f"{entry.kind}/{entry.name}" for entry in registry.entries())
        raise PluginError(f"no plugin is called '{name}'; known: {known}")
    return entries[0]


def _replacing(registry: Registry, kind: Kind, cls: type[Plugin]) -> Registry:
    """The registry with the class under its name, in place of another plugin of that name."""
    replaced = Registry()
    for entry in registry.entries():
        if (entry.kind, entry.name) != (kind, cls.name):
            replaced.add(entry.kind, entry.cls, entry.distribution, entry.version, entry.results_version)
    before = next((e for e in registry.entries(kind) if e.cls is cls), None)
    if before is None:
        replaced.add(kind, cls, cls.__module__, "0")
    else:
        replaced.add(kind, cls, before.distribution, before.version, before.results_version)
    return replaced


def _with_required(cls: type[Plugin], params: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """The parameters, and for each missing one that names a plugin the first that needs no parameters itself: checks
    put toys in its place.
    """
    for name, info in cls.Params.model_fields.items():
        kinds = [mark.kind for mark in info.metadata if isinstance(mark, RefTo)]
        if info.is_required() and name not in params and kinds:
            simple = [e for e in registry.entries(kinds[0]) if not _has_required_params(e.cls)]
            if simple:
                params[name] = simple[0].name
    return params


def _has_required_params(cls: type[Plugin]) -> bool:
    return any(field.is_required() for field in cls.Params.model_fields.values())
