"""pydantic's errors about a spec as problems in words, none twice."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from harness.api.plugin import KINDS
from harness.registry.param_errors import written_place
from harness.spec.fields import PLUGIN_LISTS
from harness.spec.spec_problems import DataPath, SpecProblem, name_hint, printable_value

_MATCHING = ("exclude", "resources", "utility")  # the fields whose references mean plugins that stand elsewhere


def validation_problems(
    error: ValidationError, data: Any, models: dict[DataPath, type[BaseModel]]
) -> list[SpecProblem]:
    """The problems that pydantic found, except with plugin references outside of `exclude`, `resources` and
    `utility`.

    Args:
        data: what was validated.
        models: the model of the whole and those of the items of its lists, by path; to suggest field names.
    """
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
        path, value = written_place(ref_path or loc, data, missing=kind == "missing")
        text = ref_problem_text(value) if ref_path else _text(detail, models.get(loc[:1] if len(loc) > 1 else ()))
        values[path] = value
        if text not in found.setdefault(path, []):
            found[path].append(text)
    return [SpecProblem(path, _joined(texts, values[path])) for path, texts in found.items()]


def ref_problem_text(value: Any) -> str:
    """Why a value is no plugin reference, and how to write one."""
    if isinstance(value, dict) and len(value) > 1:
        keys = [printable_value(key) for key in value]
        return (
            f"expected one plugin here, but found the keys {', '.join(keys[:4])}; indent the parameters below the "
            "plugin's name"
        )
    if isinstance(value, dict) and len(value) == 1:
        ((name, params),) = value.items()
        given = describe_value(params)
        return f"the parameters of {printable_value(name)} must be a mapping {{parameter: value}}, not {given}"
    return f"write a plugin's name, or {{name: {{parameter: value}}}}, not {describe_value(value)}"


def _ref_path(loc: DataPath) -> DataPath | None:
    """The part of a location that is a plugin reference, if it is in one."""
    if loc[:1] == ("judge",):
        return loc[:1]
    if loc[:1] == ("attacks",) and loc[2:3] == ("tuned",):
        return None  # fields of its own, which name no plugin
    if len(loc) >= 2 and loc[0] in PLUGIN_LISTS:
        return loc[:2]
    if len(loc) >= 3 and loc[:2] == ("utility", "tasks"):
        return loc[:3]
    if loc[:1] == ("exclude",) and loc[2:3] == ("unless",):
        return loc[:5] if len(loc) >= 5 and loc[4] in KINDS else None
    return loc[:3] if len(loc) >= 3 and loc[0] in _MATCHING and loc[2] in KINDS else None


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
    return f"{joined}, not {describe_value(value)}" if texts[0].startswith("should") else joined


def describe_value(value: Any) -> str:
    """What a value is, for a message: its sort where it is a container, else the value."""
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None:
        return "empty"
    return str(value).lower() if isinstance(value, bool) else printable_value(value)
