"""Short names for the plugins of one list: only the parameters that tell them apart."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from harness.api.params import write_paths
from harness.hashing import canonical_json
from harness.registry.resolved import ResolvedPlugin, short_text


def with_labels(
    plugins: Sequence[ResolvedPlugin], written: Sequence[Collection[str]] | None = None
) -> tuple[ResolvedPlugin, ...]:
    """The same plugins, each labelled by its name and, where several of a name are in the list, by what differs.

    Args:
        written: names of the parameters that were written for each plugin; others, which follow from them or are
            defaults, are left out of the labels. All parameters count when it is not given.
    """
    considered = None if written is None else {name for names in written for name in names}
    labels = [
        _label(plugin, [other for other in plugins if other.name == plugin.name], considered) for plugin in plugins
    ]
    unique = [
        label if labels.count(label) == 1 else f"{label} #{labels[: i + 1].count(label)}"
        for i, label in enumerate(labels)
    ]
    return tuple(replace(plugin, short_label=label) for plugin, label in zip(plugins, unique, strict=True))


def _label(plugin: ResolvedPlugin, same_name: list[ResolvedPlugin], names: set[str] | None) -> str:
    with write_paths(lambda path: path.name):
        params: dict[str, Any] = plugin.identity()["params"]
        others = [other.identity()["params"] for other in same_name]
    differing = [
        name
        for name, value in params.items()
        if (names is None or name in names)
        and any(canonical_json(other.get(name)) != canonical_json(value) for other in others)
    ]
    if not differing:
        return plugin.name
    if len(differing) == 1 and isinstance(params[differing[0]], str):
        return f"{plugin.name} {params[differing[0]]}"  # e.g. a size: its value says it all
    return f"{plugin.name}({', '.join(f'{name}={_text(params[name])}' for name in differing)})"


def _text(value: Any) -> str:
    if isinstance(value, dict) and "name" in value:  # a nested plugin's identity
        value = value["name"]
    return short_text(value)
