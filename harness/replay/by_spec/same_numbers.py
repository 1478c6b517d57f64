"""Records by another release of a package whose plugins gave the same numbers, as the installed release writes them."""

from __future__ import annotations

from typing import Any

from packaging.version import InvalidVersion, Version

from harness.api.plugin import Kind
from harness.records.cell_manifest import CellRecord, PluginRecord
from harness.registry.plugin_entry import PluginEntry
from harness.registry.registry import Registry

_KINDS: tuple[Kind, ...] = ("task", "victim", "defense", "attack", "judge")


def as_installed(record: CellRecord, registry: Registry) -> CellRecord:
    """The record with the installed version of every plugin for one that gave the same numbers; other versions stay."""
    entries = {(entry.kind, entry.name): entry for entry in registry.entries()}

    def installed(kind: Kind, plugin: PluginRecord) -> PluginRecord:
        entry = entries.get((kind, plugin.name))
        same = entry is not None and entry.distribution == plugin.distribution and gives_same(entry, plugin.version)
        return plugin.model_copy(update={"version": entry.version}) if entry is not None and same else plugin

    changes: dict[str, Any] = {kind: installed(kind, getattr(record, kind)) for kind in _KINDS}
    changes["auxiliary"] = {
        role: facts.model_copy(update={"victim": installed("victim", facts.victim)})
        for role, facts in record.auxiliary.items()
    }
    if record.defense_facts is not None:
        parts = [
            part.model_copy(update={"defense": installed("defense", part.defense)})
            for part in record.defense_facts.parts
        ]
        changes["defense_facts"] = record.defense_facts.model_copy(update={"parts": parts})
    return record.model_copy(update=changes)


def gives_same(entry: PluginEntry, version: str) -> bool:
    """Whether that version of an installed plugin's package gives its numbers: from the one in which they last changed
    to the installed one. What a later one does is not known here.
    """
    try:
        return Version(entry.results_version) <= Version(version) <= Version(entry.version)
    except InvalidVersion:  # of a plugin file it is a hash
        return version == entry.version
