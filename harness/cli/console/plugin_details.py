"""Details of one plugin: its parameters in readable types, read off its pydantic model."""

from __future__ import annotations

import inspect
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from harness.api.refs import PluginRef, RefTo

if TYPE_CHECKING:
    from rich.console import Console

    from harness.registry.plugin_entry import PluginEntry

_SIGNS = {
    "gt": "> {}",
    "ge": "≥ {}",
    "lt": "< {}",
    "le": "≤ {}",
    "multiple_of": "multiple of {}",
    "pattern": "matches {}",
}
_LENGTHS = {"min_length": "at least {} long", "max_length": "at most {} long"}


def plugin_details(entry: PluginEntry) -> dict[str, Any]:
    """A plugin as JSON data, with its parameters one by one and as a JSON schema."""
    model = entry.cls.Params
    return {
        **entry.to_json(),
        "class": f"{entry.cls.__module__}.{entry.cls.__qualname__}",
        "doc": inspect.cleandoc(entry.cls.__doc__ or ""),
        "paper": entry.cls.paper,
        "license": entry.cls.license,
        "parameters": parameters(model),
        "schema": _schema(model),
    }


def parameters(model: type[BaseModel], prefix: str = "") -> list[dict[str, Any]]:
    """Name, type, default, description and constraints of each parameter; of a model inside as ``outer.inner``."""
    rows: list[dict[str, Any]] = []
    for name, field in model.model_fields.items():
        row: dict[str, Any] = {"name": prefix + name, "type": type_name(field.annotation, field.metadata)}
        row["required"] = field.is_required()
        if not field.is_required():
            row["default"] = _default(field)
        row["constraints"] = constraints(field.metadata)
        row["description"] = field.description or ""
        extra = field.json_schema_extra
        row["changes_results"] = not (isinstance(extra, dict) and extra.get("not_identity"))
        rows.append(row)
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and not issubclass(inner, PluginRef):
            rows += parameters(inner, f"{prefix}{name}.")
    return rows


def type_name(annotation: Any, metadata: Any = ()) -> str:
    """A type as a person would write it: ``int``, ``prefix | suffix``, ``list of str``, ``attack``."""
    kinds = [mark.kind for mark in metadata if isinstance(mark, RefTo)]
    if kinds:
        return f"{kinds[0]} (name or {{name: {{...}}}})"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = constraints(_flat(arguments[1:]))
        return type_name(arguments[0], _flat(arguments[1:])) + (f" ({limits})" if limits else "")
    if origin in (Union, UnionType):
        return " | ".join(type_name(arm) for arm in arguments)
    if origin is Literal:
        return " | ".join(str(value) for value in arguments)
    if annotation in (None, NoneType):
        return "none"
    if origin is dict and len(arguments) == 2:
        return f"map of {_inner(arguments[0])} to {_inner(arguments[1])}"
    if isinstance(origin, type) and arguments:
        inner = [_inner(argument) for argument in arguments if argument is not Ellipsis]
        if origin is tuple and Ellipsis not in arguments:
            return f"[{', '.join(inner)}]"
        return f"list of {inner[0]}" if origin in (list, tuple, set, frozenset) or len(inner) == 1 else str(annotation)
    return {"Path": "path", "PluginRef": "plugin"}.get(getattr(annotation, "__name__", ""), _bare(annotation))


def _inner(annotation: Any) -> str:
    name = type_name(annotation)
    return f"({name})" if " | " in name else name


def constraints(metadata: Any) -> str:
    """Bounds in words: ``> 0, ≤ 4096``."""
    words = []
    for mark in metadata:
        for key, form in {**_SIGNS, **_LENGTHS}.items():
            value = getattr(mark, key, None)
            if value is not None:
                words.append(form.format(value))
    return ", ".join(words)


def print_details(console: Console, entry: PluginEntry) -> None:
    """Print a plugin's details for people."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    head = Text.assemble((f"{entry.kind} ", "dim"), (entry.name, "bold"), f"   {entry.distribution} {entry.version}")
    console.print(head.append(f"   access: {entry.access}" if entry.access else ""))
    console.print(Text(inspect.cleandoc(entry.cls.__doc__ or "")))
    if entry.cls.paper:
        console.print(Text(f"Paper: {entry.cls.paper}"))
    if entry.cls.license:
        console.print(Text(f"License: {entry.cls.license}"))
    rows = parameters(entry.cls.Params)
    if not rows:
        console.print("No parameters.\n")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("parameter", "type", "default", "limits", "meaning"):
        table.add_column(column, no_wrap=column == "parameter", overflow="fold")
    for row in rows:
        default = "required" if row["required"] else _default_text(row["default"])
        meaning = (
            row["description"] if row["changes_results"] else f"{row['description']} (cannot change a result)".strip()
        )
        table.add_row(*map(Text, (row["name"], row["type"], default, row["constraints"], meaning)))
    console.print(table)


def _default_text(default: Any) -> str:
    if default is None:
        return "none"
    return default if isinstance(default, str) and default.strip() == default != "" else repr(default)


def _default(field: FieldInfo) -> Any:
    if field.default_factory_takes_validated_data:
        return "(depends on the other parameters)"
    return _as_json(field.get_default(call_default_factory=True, validated_data={}))


def _as_json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple | set | frozenset):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    return value if isinstance(value, int | float | str | None) else str(value)


def _schema(model: type[BaseModel]) -> dict[str, Any] | None:
    try:
        return model.model_json_schema()
    except Exception:  # a type of the plugin's own that has no JSON schema; the list of parameters still tells
        return None


def _flat(metadata: Any) -> list[Any]:
    return [part for mark in metadata for part in (mark.metadata if isinstance(mark, FieldInfo) else [mark])]


def _bare(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation).replace("typing.", "")
