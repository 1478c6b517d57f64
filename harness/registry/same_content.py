"""Which plugins of a list are the same: with equal parameters, or with files of the same content in two places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.hashing import content_key, path_digest
from harness.registry.resolved_plugin import ResolvedPlugin, plugin_key


def same_content(one: ResolvedPlugin, other: ResolvedPlugin) -> bool:
    """Whether two plugins differ in nothing but where files and folders of the same content lie."""
    return bool(repeated([one, other]))


def repeated(plugins: Sequence[ResolvedPlugin]) -> dict[int, int]:
    """The index of each plugin that is the same as an earlier one, and that one's index. Files are read only where
    nothing else tells two plugins apart.
    """
    found: dict[int, int] = {}
    first: dict[str, int] = {}
    alike: dict[str, list[int]] = {}
    for index, plugin in enumerate(plugins):
        key = plugin_key(plugin)
        if first.setdefault(key, index) != index:
            found[index] = first[key]
        else:
            alike.setdefault(plugin_key(plugin, _nowhere), []).append(index)
    for group in alike.values():
        by_content: dict[str, int] = {}
        for index in group if len(group) > 1 else ():
            earlier = by_content.setdefault(plugin_key(plugins[index], _content), index)
            if earlier != index:
                found[index] = earlier
    return found


def _nowhere(plugin: ResolvedPlugin, name: str, path: Path) -> str:
    return ""


def _content(plugin: ResolvedPlugin, name: str, path: Path) -> str:
    """What tells a file or folder by its content; its path where it cannot be read."""
    try:
        told = plugin.fingerprint() if plugin.kind in ("victim", "attack") else {}
        if told:
            return content_key(told)
        return path_digest(path) if path.exists() else str(path)
    except Exception:  # whatever a plugin raises about files that are missing or broken: a run will tell
        return str(path)
