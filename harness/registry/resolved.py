"""A plugin with its parameters: what a spec means, what a key is made of, what a record names."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from harness.api.params import dump_portably, write_paths
from harness.api.plugin import Kind
from harness.api.refs import PluginRef, dump_references
from harness.hashing import path_digest


@dataclass(frozen=True)
class ResolvedPlugin:
    """A plugin instance and where its class comes from.

    Attributes:
        plugin: instance of the kind's class.
        distribution, version: of the package, or ``file:NAME.py`` and the first 12 hex digits of the file's sha256.
        registry: it was resolved by; tells a default reference from a changed one in `label`.
        short_label: a shorter `label`, where the list it stands in allows one.
    """

    kind: Kind
    name: str
    plugin: Any  # typed loosely, so that its users need no cast to the one kind they asked for
    distribution: str
    version: str
    registry: Any = field(default=None, repr=False, compare=False)
    short_label: str | None = field(default=None, repr=False, compare=False)

    def identity(self) -> dict[str, Any]:
        """All of this plugin that can change a number, as JSON data; nested plugins as their own identities, and of a
        judge or a defense, which tell no fingerprint, the files that it names by their hashes.
        """
        hashed = write_paths(path_digest) if self.kind in ("judge", "defense") else nullcontext()
        with dump_references(_identity), hashed:
            params = self.plugin.params.identity()
        return {
            "kind": self.kind,
            "name": self.name,
            "params": params,
            "distribution": self.distribution,
            "version": self.version,
        }

    def fingerprint(self) -> dict[str, str]:
        """Of a victim or an attack: hashes of what it reads, as it tells them or of the files that it names."""
        told: dict[str, str] = self.plugin.fingerprint()
        if told:
            return told
        found: dict[str, str] = {}
        with write_paths(lambda path: found.setdefault(f"file {len(found) + 1}", path_digest(path))):
            self.plugin.params.identity()
        return found

    @cached_property
    def label(self) -> str:
        """Short name for tables: the name and the parameters that are not at their default, nested plugins likewise."""
        if self.short_label is not None:
            return self.short_label
        params = self.plugin.params
        changed = {name for name, info in type(params).model_fields.items() if self._differs(name, info)}
        if not changed:
            return self.name
        with dump_references(_label), write_paths(lambda path: path.name):
            dumped = dump_portably(params, include=changed)
        return f"{self.name}({', '.join(f'{name}={short_text(value)}' for name, value in dumped.items())})"

    def _differs(self, name: str, info: FieldInfo) -> bool:
        value = getattr(self.plugin.params, name)
        if info.is_required():
            return True
        default = info.get_default(call_default_factory=True, validated_data=dict(self.plugin.params))
        if value == default or self.registry is None:
            return bool(value != default)
        # A default reference is written in short and held in full: resolve it the same way before comparing.
        annotation: Any = info.annotation
        if info.metadata:
            annotation = Annotated[(annotation, *info.metadata)]
        return bool(value != TypeAdapter(annotation).validate_python(default, context={"registry": self.registry}))


def _identity(ref: PluginRef) -> Any:
    return ref.resolved.identity() if ref.resolved else {"name": ref.name, "params": ref.params}


def _label(ref: PluginRef) -> str:
    return ref.resolved.label if ref.resolved else ref.name


def short_text(value: Any) -> str:
    """A parameter's value for a label."""
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
