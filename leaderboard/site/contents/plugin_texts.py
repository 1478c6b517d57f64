"""What installed plugins say of themselves: summary, paper, and what each parameter means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import one_line
from harness.records.cell_manifest import PluginRecord
from harness.registry.loader import load_plugins


@dataclass(frozen=True)
class PluginText:
    """Of one plugin class.

    Attributes:
        summary: first line of its docstring.
        paper: citation, or "".
        meanings: parameter to what it means.
        distribution: the package that it is of.
    """

    summary: str
    paper: str
    meanings: Mapping[str, str]
    distribution: str


@dataclass(frozen=True)
class PluginDescription:
    """A plugin as it took part.

    Attributes:
        summary, paper: what the installed plugin says; "" where it is not installed.
        package: that it was of, with its version.
        parameters: name, value, and meaning where it is known.
    """

    name: str
    summary: str
    paper: str
    package: str
    parameters: tuple[tuple[str, str, str], ...]


PluginTexts = Mapping[tuple[str, str], PluginText]
"""By kind and name."""


def plugin_texts() -> PluginTexts:
    """Of all plugins that are installed here."""
    return {
        (entry.kind, entry.name): PluginText(
            " ".join(entry.cls.summary().split()),
            " ".join(entry.cls.paper.split()),
            {name: field.description or "" for name, field in entry.cls.Params.model_fields.items()},
            entry.distribution,
        )
        for entry in load_plugins().registry.entries()
    }


def describe(kind: str, record: PluginRecord, texts: PluginTexts) -> PluginDescription:
    """``record`` with what its plugin says, where one of its name and package is installed."""
    text = texts.get((kind, record.name))
    if text is None or text.distribution != record.distribution:
        text = PluginText("", "", {}, "")
    values = tuple(
        (one_line(name), one_line(_value_text(value)), text.meanings.get(name, ""))
        for name, value in record.params.items()
    )
    package = one_line(f"{record.distribution} {record.version}")
    return PluginDescription(one_line(record.name), text.summary, text.paper, package, values)


def _value_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
