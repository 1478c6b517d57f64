"""A plugin with its parameters: what a spec means, what a key is made of, what a record names."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from harness.api.plugin import Kind
from harness.api.refs import PluginRef, dump_references


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
        """All of this plugin that can change a number, as JSON data; nested plugins as their own identities."""
        with dump_references(_identity):
            params = self.plugin.params.identity()
        return {
            "kind": self.kind,
            "name": self.name,
            "params": params,
            "distribution": self.distribution,
            "version": self.version,
        }

    @cached_property
    def label(self) -> str:
        """Short name for tables: the name and the parameters that are not at their default, nested plugins likewise."""
        if self.short_label is not None:
            return self.short_label
        params = self.plugin.params
        changed = {name for name, info in type(params).model_fields.items() if self._differs(name, info)}
        if not changed:
            return self.name
        with dump_references(_label):
            dumped = params.model_dump(mode="json", include=changed)
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
