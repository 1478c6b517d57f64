"""pydantic's errors about a plugin's parameters, in words for the person who wrote them."""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from harness.errors import PluginError, did_you_mean

if TYPE_CHECKING:
    from harness.registry.plugin_entry import PluginEntry

ParamPath = tuple[str | int, ...]
ParamProblem = tuple[ParamPath, str]


class ParamsError(PluginError):
    """Parameters that a plugin does not accept.

    Attributes:
        entry: the plugin.
        problems: where in the parameters, and what is wrong there; places are as the user wrote them, in the short or
            the long form.
    """

    def __init__(self, entry: PluginEntry, problems: list[ParamProblem]) -> None:
        self.entry = entry
        self.problems = problems
        lines = [f"  {'.'.join(map(str, where)) or 'parameters'}: {text}" for where, text in problems]
        super().__init__("\n".join([f"{entry.described()} does not accept these parameters:", *lines]))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.entry, self.problems)


def params_problems(model: type[BaseModel], error: ValidationError, written: Any) -> list[ParamProblem]:
    """The problems that pydantic found, one per place; alternatives of a union are joined.

    Args:
        model: the plugin's ``Params``.
        written: the parameters as the user wrote them.
    """
    found: dict[ParamPath, list[str]] = {}
    for detail in error.errors(include_url=False):
        where, _ = written_place(detail["loc"], written, missing=detail["type"] == "missing")
        text = _message(model, detail, where)
        if text not in found.setdefault(where, []):
            found[where].append(text)
    return [(where, _joined(texts)) for where, texts in found.items()]


def _joined(texts: list[str]) -> str:
    if len(texts) == 1:
        return texts[0]
    heads = [text.rsplit(" (got ", 1) for text in texts]
    got = next((f" (got {head[1]}" for head in heads if len(head) == 2), "")
    return " or ".join(head[0] for head in heads) + got


def _message(model: type[BaseModel], detail: Any, where: ParamPath) -> str:
    kind, text = detail["type"], str(detail["msg"])
    if kind == "plugin":
        return text
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        names = _fields_at(model, where[:-1])
        if names is None:
            return "unknown parameter"
        known = f"known: {', '.join(sorted(names))}" if names else "there are no parameters"
        return f"unknown parameter{did_you_mean(where[-1], names)}; {known}"
    if kind in ("value_error", "assertion_error"):
        text = text.split(", ", 1)[-1]
    got = repr(detail["input"])
    return f"{text} (got {got if len(got) <= 60 else got[:57] + '...'})"


def written_place(loc: ParamPath, written: Any, *, missing: bool) -> tuple[ParamPath, Any]:
    """The part of pydantic's location that was written, and what is there: it also names branches of unions, which
    nobody wrote.

    Args:
        missing: whether the last part is what should have been written; it is kept.
    """
    place: list[str | int] = []
    for index, part in enumerate(loc):
        if _holds(written, part):
            written = written[part]
        elif not (missing and index == len(loc) - 1):
            continue
        place.append(part)
    return tuple(place), written


def _holds(written: Any, part: str | int) -> bool:
    if isinstance(written, dict):
        return part in written
    return isinstance(written, list | tuple) and isinstance(part, int) and part < len(written)


def _fields_at(model: type[BaseModel], where: ParamPath) -> list[str] | None:
    """Names of the fields of the model at a place inside another one's data, or None where that cannot be told."""
    at: Any = model
    for part in where:
        if not _is_model(at) or part not in at.model_fields:
            return None
        arms = [at.model_fields[part].annotation]
        if get_origin(arms[0]) in (Union, UnionType):
            arms = [arm for arm in get_args(arms[0]) if _is_model(arm)]
        at = arms[0] if len(arms) == 1 else None
    return list(at.model_fields) if _is_model(at) else None


def _is_model(at: Any) -> bool:
    return isinstance(at, type) and issubclass(at, BaseModel)
