"""Short names for the plugins of one list: only the parameters that tell them apart, files and folders by name."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.api.params import paths_from
from harness.errors import one_line
from harness.hashing import canonical_json
from harness.registry.resolved_plugin import ResolvedPlugin, described_params, short_text


def with_labels(
    plugins: Sequence[ResolvedPlugin], written: Sequence[Collection[str]] | None = None
) -> tuple[ResolvedPlugin, ...]:
    """The same plugins, each labelled by its name and, where several of a name are in the list, by what differs.

    Args:
        written: names of the parameters that were written for each plugin; others, which follow from them or are
            defaults, are left out of the labels. All parameters count when it is not given.
    """
    considered = None if written is None else {name for names in written for name in names}
    described = [described_params(plugin.plugin.params) for plugin in plugins]
    of_name: dict[str, list[dict[str, Any]]] = {}
    for plugin, params in zip(plugins, described, strict=True):
        of_name.setdefault(plugin.name, []).append(params)
    labels = [
        _label(plugin, params, of_name[plugin.name], considered)
        for plugin, params in zip(plugins, described, strict=True)
    ]
    unique = [
        label if labels.count(label) == 1 else f"{label} #{labels[: i + 1].count(label)}"
        for i, label in enumerate(labels)
    ]
    return tuple(replace(plugin, short_label=label) for plugin, label in zip(plugins, unique, strict=True))


def _label(
    plugin: ResolvedPlugin, params: dict[str, Any], same_name: list[dict[str, Any]], names: set[str] | None
) -> str:
    content = plugin.plugin.params.identity()

    def is_told(name: str, value: Any) -> bool:
        if isinstance(value, Path) and name in content:  # it stands for its content: another run may have another one
            return True
        written = names is None or name.partition(".")[0] in names
        return written and any(_key(other.get(name)) != _key(value) for other in same_name)

    told = [name for name, value in params.items() if is_told(name, value)]
    if not told:
        return plugin.name
    texts = {name: _text(params[name], [other.get(name) for other in same_name]) for name in told}
    if len(told) == 1 and isinstance(params[told[0]], str | Path):
        return f"{plugin.name} {texts[told[0]]}"  # e.g. a size: its value says it all
    return f"{plugin.name}({', '.join(f'{name}={text}' for name, text in texts.items())})"


def _key(value: Any) -> str:
    return canonical_json(str(value) if isinstance(value, Path) else value)


def _text(value: Any, others: Sequence[Any]) -> str:
    if isinstance(value, Path):
        return short_path(value, [other for other in others if isinstance(other, Path)])
    if isinstance(value, dict) and "name" in value:  # a nested plugin
        value = value["name"]
    return short_text(value)


def short_path(path: Path, others: Sequence[Path] = ()) -> str:
    """The last name of a path, with as many folders before it as tell it from the others."""
    parts, *rest = (_parts(each) for each in (path, *others))
    unlike = [other for other in rest if other != parts]
    count = next((n for n in range(1, len(parts)) if all(other[-n:] != parts[-n:] for other in unlike)), len(parts))
    return one_line("/".join(parts[-count:]) or str(path))


def _parts(path: Path) -> tuple[str, ...]:
    """The names on a path, from the spec's folder on where it lies inside: the same wherever that folder lies."""
    base = paths_from()
    whole = Path(os.path.normpath(base / path))
    return (whole.relative_to(base) if whole.is_relative_to(base) and whole != base else whole).parts
