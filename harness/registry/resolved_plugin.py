"""A plugin with its parameters: what a spec means, what a key is made of, what a record names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from harness.api.params import dump_portably, host_fields, write_paths
from harness.api.plugin import Kind
from harness.api.refs import PluginRef, dump_references
from harness.errors import one_line
from harness.hashing import canonical_json, path_digest


@dataclass(frozen=True)
class ResolvedPlugin:
    """A plugin instance and where its class comes from.

    Attributes:
        plugin: instance of the kind's class.
        distribution, version: of the package, or ``file:NAME.py`` and the first 12 hex digits of the file's sha256.
        results_version: at which it last gave other numbers, where that is not ``version``.
        registry: it was resolved by; tells a default reference from a changed one in `label`.
        short_label: a shorter `label`, where the list it stands in allows one.
    """

    kind: Kind
    name: str
    plugin: Any  # typed loosely, so that its users need no cast to the one kind they asked for
    distribution: str
    version: str
    results_version: str = ""
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
            "version": self.key_version,
        }

    @property
    def key_version(self) -> str:
        """The version that keys are made with."""
        return self.results_version or self.version

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
        """Short name for tables: the name and the parameters that are not at their default, nested plugins likewise;
        of those that count, so that it is the same wherever the cell runs.
        """
        if self.short_label is not None:
            return self.short_label
        params = self.plugin.params
        differing = {name for name, info in type(params).model_fields.items() if self._differs(name, info)}
        changed = differing - host_fields(type(params))
        if not changed:
            return self.name
        with dump_references(_label), write_paths(lambda path: path.name):
            dumped = dump_portably(params, include=changed)
        _name_paths(params, dumped)
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

    def recorded(self) -> dict[str, Any]:
        """The parameters as a record has them: those that count, of nested plugins too, and of files and folders that
        these name, at most the last name.
        """
        with dump_references(_recorded):
            params: dict[str, Any] = self.plugin.params.identity()
        return params


PathKey = Callable[[ResolvedPlugin, str, Path], str]
"""What stands for a file or folder in a key, from the plugin that names it, the parameter and the path."""


def described_params(params: Any) -> dict[str, Any]:
    """`Params.described` with each nested plugin as ``{"name": …, "key": …}``: a short name, and `plugin_key`."""
    with dump_references(lambda ref: {"name": _short_name(ref), "key": _nested_key(ref)}):
        found: dict[str, Any] = params.described()
    return found


def plugin_key(plugin: ResolvedPlugin, path_key: PathKey | None = None) -> str:
    """Equal for plugins whose parameters are all equal, those outside the identity (devices and the like) and files and
    folders included, also those that nested plugins name.

    Args:
        path_key: by default the path.
    """
    with write_paths(str if path_key is None else lambda path: path_key(plugin, "", path)):
        identity = plugin.identity()
    params, paths = plugin.plugin.params, _paths(plugin)
    outside = set(type(params).model_fields) - set(identity["params"])
    if path_key is not None:
        outside -= {name.partition(".")[0] for name in paths}
        told = {place: path_key(*found) for place, found in paths.items()}
    else:  # those outside the identity are told by their values
        told = {place: str(path) for place, (_, _, path) in paths.items() if place.partition(".")[0] not in outside}
    key = [identity, params.model_dump(mode="json", include=outside)]
    return canonical_json([*key, told] if told else key)


def _paths(plugin: ResolvedPlugin) -> dict[str, tuple[ResolvedPlugin, str, Path]]:
    """The files and folders that a plugin and those nested in it name, by place: whose, which parameter, and where."""
    nested: list[Any] = []
    with dump_references(lambda ref: nested.append(ref.resolved)):
        described = plugin.plugin.params.described()
    found = {name: (plugin, name, value) for name, value in described.items() if isinstance(value, Path)}
    for at, inner in enumerate(nested):
        if inner is not None:
            found |= {f"/{at}.{place}": path for place, path in _paths(inner).items()}
    return found


def _nested_key(ref: PluginRef) -> Any:
    found: Any = ref.resolved
    return [ref.name, ref.params] if found is None else plugin_key(found)


def _short_name(ref: PluginRef) -> str:
    found: Any = ref.resolved
    if found is None:
        return ref.name
    params = found.plugin.params
    content = params.identity()
    folders = [value.name for name, value in params.described().items() if isinstance(value, Path) and name in content]
    return " ".join([ref.name, *folders])


def _recorded(ref: PluginRef) -> Any:
    found: Any = ref.resolved
    if found is None:
        return {ref.name: ref.params} if ref.params else ref.name
    params = found.plugin.params
    with write_paths(lambda path: path.name):
        written = dump_portably(params, exclude=host_fields(type(params)))
    _name_paths(params, written)
    return {ref.name: written} if written else ref.name


def _name_paths(params: Any, dumped: dict[str, Any]) -> None:
    """Put the last name of each file and folder in the place of its path."""
    for name, value in params.described().items():
        field, _, part = name.partition(".")
        if isinstance(value, Path) and field in dumped:
            holder, place = (dumped[field], part) if part else (dumped, field)
            holder[place] = value.name


def _identity(ref: PluginRef) -> Any:
    return ref.resolved.identity() if ref.resolved else {"name": ref.name, "params": ref.params}


def _label(ref: PluginRef) -> str:
    return ref.resolved.label if ref.resolved else ref.name


def short_text(value: Any) -> str:
    """A parameter's value for a label."""
    text = one_line(str(value))
    return text if len(text) <= 40 else text[:37] + "..."
