"""The plugins that a run can name: entries by kind and name, and how a reference becomes an instance."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from harness.api.plugin import KINDS, Kind, Plugin
from harness.api.refs import PluginRef
from harness.errors import PluginError, did_you_mean
from harness.registry.class_checks import check_class
from harness.registry.param_errors import ParamsError, params_problems
from harness.registry.plugin_entry import PluginEntry
from harness.registry.resolved_plugin import ResolvedPlugin


class Registry:
    """Plugins by kind and name. Filled by `load_plugins`; a test may fill its own."""

    def __init__(self) -> None:
        self._entries: dict[tuple[Kind, str], PluginEntry] = {}

    def copy(self) -> Registry:
        """A registry with the same entries, to which more can be added without touching this one."""
        twin = Registry()
        twin._entries = dict(self._entries)
        return twin

    def add(
        self, kind: Kind, cls: type[Plugin], distribution: str, version: str, results_version: str | None = None
    ) -> PluginEntry:
        """Register a class.

        Args:
            results_version: at which it last gave other numbers, where that is not ``version``.

        Raises:
            PluginError: the class is not a proper plugin of that kind, or its name is taken.
        """
        source = f"{distribution} {version}"
        check_class(kind, cls, source)
        entry = PluginEntry(kind, cls.name, cls, distribution, version, results_version or version)
        taken = self._entries.get((kind, cls.name))
        if taken is not None and taken.cls is not cls:
            raise PluginError(
                f"two {kind}s are called '{cls.name}': {taken.origin()} and {entry.origin()}; "
                "rename one, or leave out its package"
            )
        return self._entries.setdefault((kind, cls.name), entry)

    def entries(self, kind: Kind | None = None) -> list[PluginEntry]:
        """All entries, or those of one kind, by kind and then by name."""
        found = [entry for entry in self._entries.values() if kind in (None, entry.kind)]
        return sorted(found, key=lambda entry: (KINDS.index(entry.kind), entry.name))

    def find(self, name: str) -> list[PluginEntry]:
        """The entries called ``name``, of any kind, or the one that ``kind/name`` names.

        Raises:
            PluginError: there is none.
        """
        kind, slash, rest = name.partition("/")
        if slash:
            known = next((known for known in KINDS if kind in (known, f"{known}s")), None)
            if known is None:
                raise PluginError(f"there is no kind of plugin called '{kind}'; kinds: {', '.join(KINDS)}")
            return [self.get(known, rest)]
        found = [entry for entry in self.entries() if entry.name == name]
        if not found:
            names = sorted({entry.name for entry in self.entries()})
            raise PluginError(f"no plugin is called '{name}'{did_you_mean(name, names)}; known: {', '.join(names)}")
        return found

    def get(self, kind: Kind, name: str) -> PluginEntry:
        """The entry of that kind and name.

        Raises:
            PluginError: there is none; the message has the nearest name and all known ones.
        """
        entry = self._entries.get((kind, name))
        if entry is not None:
            return entry
        names = [entry.name for entry in self.entries(kind)]
        others = [entry.kind for entry in self.entries() if entry.name == name]
        hint = f"; there is a {others[0]} of that name" if others else did_you_mean(name, names)
        known = f"known: {', '.join(names)}" if names else f"no {kind} is registered"
        raise PluginError(f"no {kind} is called '{name}'{hint}; {known}")

    def resolve(self, kind: Kind, ref: PluginRef) -> ResolvedPlugin:
        """The plugin that a reference names, with its parameters validated by its own model.

        Raises:
            PluginError: no plugin of that name.
            ParamsError: its parameters are not accepted.
        """
        entry = self.get(kind, ref.name)
        model: Any = entry.cls.Params
        try:
            params = model.model_validate(ref.params, context={"registry": self})
        except ValidationError as error:
            raise ParamsError(entry, params_problems(model, error, ref.params)) from error
        plugin = entry.cls(params)
        versions = entry.version, entry.results_version
        return ResolvedPlugin(kind, entry.name, plugin, entry.distribution, *versions, registry=self)
