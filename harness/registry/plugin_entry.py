"""A registered plugin class, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.api.plugin import Kind, Plugin


@dataclass(frozen=True)
class PluginEntry:
    """A registered plugin class and the distribution it comes from.

    Attributes:
        version: of the distribution.
        results_version: at which it last gave other numbers: what keys are made with.
    """

    kind: Kind
    name: str
    cls: type[Plugin]
    distribution: str
    version: str
    results_version: str

    @property
    def access(self) -> str:
        """What an attack asks for; empty for other kinds."""
        return str(getattr(self.cls, "access", "")) if self.kind == "attack" else ""

    def origin(self) -> str:
        """For messages: the class, and the distribution it comes from."""
        return f"{self.cls.__module__}.{self.cls.__qualname__} of {self.distribution} {self.version}"

    def to_json(self) -> dict[str, Any]:
        """Its row in a list of plugins, as JSON data."""
        return {
            "kind": self.kind,
            "name": self.name,
            "access": self.access,
            "summary": self.cls.summary(),
            "distribution": self.distribution,
            "version": self.version,
        }

    def described(self) -> str:
        """For messages: kind, name, distribution and version."""
        return f"{self.kind} '{self.name}' ({self.distribution} {self.version})"
