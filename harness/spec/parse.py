"""From plain data to a `Spec` and the plugin references in it; every problem is collected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.api.plugin import Kind
from harness.api.refs import PluginRef
from harness.api.threat import Threat
from harness.records.cell_manifest import TuningRecord
from harness.spec.answers import AnswerSampling
from harness.spec.fields import (
    PLUGIN_LISTS,
    DefenseEntry,
    Exclude,
    ResourceEntry,
    Spec,
    UtilityBound,
    attack_parts,
    entry_parts,
)
from harness.spec.pydantic_errors import describe_value, ref_problem_text, validation_problems
from harness.spec.spec_problems import DataPath, SpecProblem

_MODELS: dict[DataPath, type[BaseModel]] = {
    (): Spec,
    ("answers",): AnswerSampling,
    ("attacks",): TuningRecord,
    ("threats",): Threat,
    ("exclude",): Exclude,
    ("resources",): ResourceEntry,
    ("utility",): UtilityBound,
}


@dataclass(frozen=True)
class LocatedRef:
    """A plugin reference and where it stands in a spec.

    Attributes:
        path: what it is known by: that of an entry of a list, or of a part of an entry of ``defenses``.
        params_path: where its parameters are written.
        written_at: where it is written itself; None: at ``path``.
    """

    path: DataPath
    params_path: DataPath
    kind: Kind
    ref: PluginRef
    written_at: DataPath | None = None


def parse_spec(data: Any, problems: list[SpecProblem]) -> Spec | None:
    """The spec that the data describe; None where something is wrong, which is added to ``problems``, except what
    `parse_refs` finds.
    """
    if not isinstance(data, dict):
        problems.append(
            SpecProblem((), f"a spec is a mapping of fields (name: ..., tasks: ...), not {describe_value(data)}")
        )
        return None
    try:
        return Spec.model_validate(data, strict=True)
    except ValidationError as error:
        problems.extend(validation_problems(error, data, _MODELS))
        return None


def parse_refs(data: Any, problems: list[SpecProblem]) -> list[LocatedRef]:
    """Every well-formed plugin reference of the lists and the judge; the malformed are added to ``problems``."""
    found: list[LocatedRef] = []
    if not isinstance(data, dict):
        return found
    for field, kind in PLUGIN_LISTS.items():
        items = data.get(field)
        for index, item in enumerate(items if isinstance(items, list) else []):
            if kind == "defense":
                found += _parse_entry(item, (field, index), problems)
            else:
                ref = attack_parts(item)[0] if kind == "attack" else item
                found += _parse_ref(ref, (field, index), kind, problems)
    if "judge" in data:
        found += _parse_ref(data["judge"], ("judge",), "judge", problems)
    return found


def spec_refs(spec: Spec, written: list[LocatedRef]) -> list[LocatedRef]:
    """The references of a spec in order, its defaults included; those of ``written`` where it has one of that path."""
    located = {ref.path: ref for ref in written}
    wanted: list[tuple[DataPath, Kind, PluginRef]] = [
        (path, kind, ref)
        for field, kind in PLUGIN_LISTS.items()
        for index, entry in enumerate(getattr(spec, field))
        for path, ref in entry_refs(entry, (field, index))
    ]
    wanted.append((("judge",), "judge", spec.judge))
    return [located.get(path) or LocatedRef(path, (*path, ref.name), kind, ref) for path, kind, ref in wanted]


def entry_refs(entry: PluginRef | DefenseEntry, path: DataPath) -> list[tuple[DataPath, PluginRef]]:
    """The references of one entry of a list, and the path that each is known by: the entry's, or one below it."""
    if isinstance(entry, PluginRef):
        return [(path, entry)]
    if entry.single is not None:
        return [(path, entry.single)]
    return [((*path, index), part) for index, part in enumerate(entry.parts)]


def _parse_entry(item: Any, path: DataPath, problems: list[SpecProblem]) -> list[LocatedRef]:
    """The well-formed references of one entry of ``defenses``."""
    parts, static = entry_parts(item)
    if not isinstance(static, bool):
        problems.append(SpecProblem((*path, "non_adaptive"), f"should be true or false, not {describe_value(static)}"))
        return []
    if not isinstance(parts, list) or not parts:
        message = "a stack is a list of defenses, in the order in which a prompt meets them: [first, second]"
        problems.append(SpecProblem(path, message))
        return []
    found: list[LocatedRef] = []
    alone = len(parts) == 1 and not static
    inside: DataPath = (*path, "stack") if isinstance(item, dict) and "stack" in item else path
    for index, part in enumerate(parts):
        where = inside if isinstance(item, dict) and "stack" not in item else (*inside, index)
        if isinstance(item, str) or (isinstance(item, dict) and alone):
            where = path
        if isinstance(part, list):
            problems.append(SpecProblem(where, "a stack within a stack; write one list of defenses"))
            continue
        key: DataPath = path if alone else (*path, index)
        found += [replace(ref, path=key, written_at=where) for ref in _parse_ref(part, where, "defense", problems)]
    return found


def _parse_ref(item: Any, path: DataPath, kind: Kind, problems: list[SpecProblem]) -> list[LocatedRef]:
    """The reference as a list of one; none where it is malformed."""
    try:
        ref = PluginRef.model_validate(item, strict=True)
    except ValidationError:
        problems.append(SpecProblem(path, ref_problem_text(item)))
        return []
    long_form = isinstance(item, dict) and "name" in item
    return [LocatedRef(path, (*path, "params" if long_form else ref.name), kind, ref)]
