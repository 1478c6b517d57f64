"""A plugin in one row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.registry.entry import Entry


def in_short(entry: Entry) -> dict[str, Any]:
    """One row of the list, as JSON data."""
    return {
        "kind": entry.kind,
        "name": entry.name,
        "access": entry.access,
        "summary": entry.cls.summary(),
        "distribution": entry.distribution,
        "version": entry.version,
    }
