"""Short names for the plugins of one list: only the parameters that tell them apart, files and folders by name."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from harness.api.params import paths_from
from harness.errors import one_line
from harness.hashing import canonical_json
from harness.registry.resolved_plugin import ResolvedPlugin, described_params, short_text

MOST_TRIED = 12  # differing parameters of which the fewest that suffice are looked for; of more, all are named


def with_labels(
    plugins: Sequence[ResolvedPlugin], written: Sequence[Collection[str]] | None = None
) -> tuple[ResolvedPlugin, ...]:
    """The same plugins, each labelled by its name and, if several of a name are in the list, by what tells them apart:
    as few parameters as do, the same ones for all of a name; of several such choices, what fewest of them write.

    Args:
        written: names of the parameters that were written for each plugin; others, which follow from them or are
            defaults, are left out of the labels. All parameters count when it is not given.
    """
    names = [frozenset(each) for each in written] if written is not None else [None] * len(plugins)
    of_name: dict[str, list[int]] = {}
    for at, plugin in enumerate(plugins):
        of_name.setdefault(plugin.name, []).append(at)
    labels = [""] * len(plugins)
    for places in of_name.values():
        group = [plugins[at] for at in places]
        for at, label in zip(places, _labels(group, [names[at] for at in places]), strict=True):
            labels[at] = label
    unique = [
        label if labels.count(label) == 1 else f"{label} #{labels[: i + 1].count(label)}"
        for i, label in enumerate(labels)
    ]
    return tuple(replace(plugin, short_label=label) for plugin, label in zip(plugins, unique, strict=True))


def _labels(group: Sequence[ResolvedPlugin], written: Sequence[frozenset[str] | None]) -> list[str]:
    """Of plugins of one name."""
    params = _flat([described_params(plugin.plugin.params) for plugin in group])
    every = list(dict.fromkeys(name for each in params for name in each))
    considered = None if None in written else {name for names in written for name in names or ()}
    differing = [
        name
        for name in every
        if (considered is None or name.partition(".")[0] in considered)
        and len({_key(each.get(name)) for each in params}) > 1
    ]
    texts = [{name: _text(each.get(name), [other.get(name) for other in params]) for name in every} for each in params]
    rarely = sorted(differing, key=lambda name: sum(name.partition(".")[0] in (names or ()) for names in written))
    chosen = _fewest(rarely, texts)
    return [_label(*each, chosen) for each in zip(group, params, texts, strict=True)]


def _fewest(names: Sequence[str], texts: Sequence[dict[str, str]]) -> frozenset[str]:
    """As few of the names as tell apart all that all of them do; the first such choice."""

    def told_apart(chosen: Sequence[str]) -> int:
        return len({tuple(each[name] for name in chosen) for each in texts})

    if len(names) > MOST_TRIED:
        return frozenset(names)
    most = told_apart(names)
    choices = (each for size in range(len(names) + 1) for each in combinations(names, size))
    return frozenset(next(each for each in choices if told_apart(each) == most))


def _flat(params: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the fields of groups of parameters by dotted names, where every plugin has the group."""
    groups = {name for name in params[0] if all(_is_group(each.get(name)) for each in params)}
    if not groups:
        return params
    flat = [
        {
            inner: content
            for name, value in each.items()
            for inner, content in (
                ((f"{name}.{key}", part) for key, part in value.items()) if name in groups else ((name, value),)
            )
        }
        for each in params
    ]
    return _flat(flat)


def _is_group(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and "name" not in value


def _label(plugin: ResolvedPlugin, params: dict[str, Any], texts: dict[str, str], chosen: frozenset[str]) -> str:
    content = plugin.plugin.params.identity()
    # A file stands for its content: another run may have another one.
    told = [name for name, value in params.items() if name in chosen or (isinstance(value, Path) and name in content)]
    if not told:
        return plugin.name
    if len(told) == 1 and isinstance(params[told[0]], str | Path):
        return f"{plugin.name} {texts[told[0]]}"  # e.g. a size: its value says it all
    return f"{plugin.name}({', '.join(f'{name}={texts[name]}' for name in told)})"


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
