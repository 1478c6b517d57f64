"""From plain data to a `Spec`: fields, types and ranges, with every problem in words and none twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.api.plugin import KINDS, Kind
from harness.api.refs import PluginRef
from harness.api.threat import Threat
from harness.spec.model import PLUGIN_LISTS, DefenseEntry, Exclude, ResourceEntry, Spec, entry_parts
from harness.spec.problems import DataPath, SpecProblem, name_hint, shown

_MATCHING = ("exclude", "resources")  # the fields whose references mean plugins that stand elsewhere


_MODELS: dict[DataPath, type[BaseModel]] = {
    (): Spec,
    ("threats",): Threat,
    ("exclude",): Exclude,
    ("resources",): ResourceEntry,
}


@dataclass(frozen=True)
class RefAt:
    """A plugin reference, the ``path`` that it is known by, and the one from which its ``params`` count.

    Attributes:
        stands: where it is written, where that is another place.
    """

    path: DataPath
    params: DataPath
    kind: Kind
    ref: PluginRef
    stands: DataPath | None = None


def spec_from(data: Any, problems: list[SpecProblem]) -> Spec | None:
    """The spec that the data describe, or None after noting what is wrong, except for references: see `refs_from`."""
    if not isinstance(data, dict):
        problems.append(SpecProblem((), f"a spec is a mapping of fields (name: ..., tasks: ...), not {_sort(data)}"))
        return None
    try:
        return Spec.model_validate(data, strict=True)
    except ValidationError as error:
        problems.extend(validation_problems(error, data, _MODELS))
        return None


def refs_from(data: Any, problems: list[SpecProblem]) -> list[RefAt]:
    """Every well-formed plugin reference of the axes and the judge; the malformed are noted."""
    found: list[RefAt] = []
    if not isinstance(data, dict):
        return found
    for field, kind in PLUGIN_LISTS.items():
        items = data.get(field)
        for index, item in enumerate(items if isinstance(items, list) else []):
            if kind == "defense":
                _read_entry(item, (field, index), found, problems)
            else:
                _read_ref(item, (field, index), kind, found, problems)
    if "judge" in data:
        _read_ref(data["judge"], ("judge",), "judge", found, problems)
    return found


def refs_of(spec: Spec, written: list[RefAt]) -> list[RefAt]:
    """The references of a spec in order, its defaults included; places come from ``written`` where it has them."""
    places = {at.path: at for at in written}
    wanted: list[tuple[DataPath, Kind, PluginRef]] = [
        (path, kind, ref)
        for field, kind in PLUGIN_LISTS.items()
        for index, entry in enumerate(getattr(spec, field))
        for path, ref in parts_at(entry, (field, index))
    ]
    wanted.append((("judge",), "judge", spec.judge))
    return [places.get(path) or RefAt(path, (*path, ref.name), kind, ref) for path, kind, ref in wanted]


def parts_at(entry: PluginRef | DefenseEntry, path: DataPath) -> list[tuple[DataPath, PluginRef]]:
    """The references of one entry of a list, and by which place each is known: the entry's own, or one below it."""
    if isinstance(entry, PluginRef):
        return [(path, entry)]
    if entry.single is not None:
        return [(path, entry.single)]
    return [((*path, place), part) for place, part in enumerate(entry.parts)]


def _read_entry(item: Any, path: DataPath, found: list[RefAt], problems: list[SpecProblem]) -> None:
    """The references of one entry of ``defenses``."""
    parts, static = entry_parts(item)
    if not isinstance(static, bool):
        problems.append(SpecProblem((*path, "non_adaptive"), f"should be true or false, not {_sort(static)}"))
        return
    if not isinstance(parts, list) or not parts:
        said = "a stack is a list of defenses, in the order in which a prompt meets them: [first, second]"
        problems.append(SpecProblem(path, said))
        return
    alone = len(parts) == 1 and not static
    inside: DataPath = (*path, "stack") if isinstance(item, dict) and "stack" in item else path
    for place, part in enumerate(parts):
        one: list[RefAt] = []
        where = inside if isinstance(item, dict) and "stack" not in item else (*inside, place)
        if isinstance(item, str) or (isinstance(item, dict) and alone):
            where = path
        if isinstance(part, list):
            problems.append(SpecProblem(where, "a stack in a stack; write one list of defenses"))
            continue
        _read_ref(part, where, "defense", one, problems)
        key: DataPath = path if alone else (*path, place)
        found += [RefAt(key, ref.params, ref.kind, ref.ref, where) for ref in one]


def validation_problems(
    error: ValidationError, data: Any, models: dict[DataPath, type[BaseModel]]
) -> list[SpecProblem]:
    """pydantic's errors as problems. ``models``: which one sits at the top and in each list, to suggest field names."""
    details = error.errors(include_url=False)
    found: dict[DataPath, list[str]] = {}
    values: dict[DataPath, Any] = {}
    for detail in details:
        loc, kind = detail["loc"], detail["type"]
        if _ref_path(loc) is not None and loc[0] not in _MATCHING:
            continue
        if kind == "too_short" and any(
            len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in details
        ):
            continue  # pydantic counts only the items that were fine
        ref_path = _ref_path(loc)
        path, value = _written(ref_path or loc, data, missing=kind == "missing")
        text = ref_message(value) if ref_path else _text(detail, models.get(loc[:1] if len(loc) > 2 else ()))
        values[path] = value
        if text not in found.setdefault(path, []):
            found[path].append(text)
    return [SpecProblem(path, _joined(texts, values[path])) for path, texts in found.items()]


def ref_message(value: Any) -> str:
    """Why a value is no plugin reference, and how to write one."""
    if isinstance(value, dict) and len(value) > 1:
        keys = [shown(key) for key in value]
        return f"one plugin here, but the keys {', '.join(keys[:4])}; indent the parameters below the plugin's name"
    if isinstance(value, dict) and len(value) == 1:
        ((name, params),) = value.items()
        return f"the parameters of {shown(name)} must be a mapping {{parameter: value}}, not {_sort(params)}"
    return f"write a plugin's name, or {{name: {{parameter: value}}}}, not {_sort(value)}"


def _read_ref(item: Any, path: DataPath, kind: Kind, found: list[RefAt], problems: list[SpecProblem]) -> None:
    try:
        ref = PluginRef.model_validate(item, strict=True)
    except ValidationError:
        problems.append(SpecProblem(path, ref_message(item)))
        return
    found.append(RefAt(path, params_path(path, item, ref), kind, ref))


def params_path(path: DataPath, item: Any, ref: PluginRef) -> DataPath:
    """Where the parameters of a written reference stand, in its short or its long form."""
    return (*path, "params") if isinstance(item, dict) and "name" in item else (*path, ref.name)


def _ref_path(loc: DataPath) -> DataPath | None:
    """The part of a location that is a plugin reference, if it is in one."""
    if loc[:1] == ("judge",):
        return loc[:1]
    if len(loc) >= 2 and loc[0] in PLUGIN_LISTS:
        return loc[:2]
    return loc[:3] if len(loc) >= 3 and loc[0] in _MATCHING and loc[2] in KINDS else None


def _written(loc: DataPath, data: Any, *, missing: bool) -> tuple[DataPath, Any]:
    """The part of a location that stands in the data (pydantic adds the arms of unions), and what is there."""
    path: list[str | int] = []
    for part in loc:
        there = part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data))
        if not there:
            if missing:
                path.append(part)
            break
        data = data[part]
        path.append(part)
    return tuple(path), data


def _text(detail: Any, model: type[BaseModel] | None) -> str:
    kind, text = detail["type"], str(detail["msg"])
    if kind == "missing":
        return "is required; add it"
    if kind == "extra_forbidden":
        return f"unknown field{name_hint(str(detail['loc'][-1]), model.model_fields if model else ())}"
    if kind == "value_error":
        return text.removeprefix("Value error, ")
    if kind == "too_short":
        return "needs at least one entry"
    if kind == "byte_size_unit":
        return f"{text}; write a number of bytes, or one with a unit: 16GiB"
    if kind == "tuple_type":
        return "should be a list"
    if kind in ("model_type", "dict_type"):
        return "should be a mapping of fields"
    if kind == "string_type" and isinstance(detail["input"], int | float):
        return "should be text: put it in quotes"
    return (
        text.replace("Input should", "should", 1)
        .replace("String should", "should", 1)
        .replace("Tuple should", "should", 1)
    )


def _joined(texts: list[str], value: Any) -> str:
    alternatives = [texts[0], *(text.removeprefix("should be ") for text in texts[1:])]
    joined = " or ".join(alternatives)
    return f"{joined}, not {_sort(value)}" if texts[0].startswith("should") else joined


def _sort(value: Any) -> str:
    """What a value is, for a message: itself when it is small."""
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None:
        return "empty"
    return str(value).lower() if isinstance(value, bool) else shown(value)
