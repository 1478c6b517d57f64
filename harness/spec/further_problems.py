"""What else is wrong in a spec some of whose plugins cannot be resolved, so that all is told at once."""

from __future__ import annotations

from collections.abc import Mapping

from harness.registry.registry import Registry
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.spec.cells import expand
from harness.spec.fields import PLUGIN_LISTS, Spec
from harness.spec.parse import entry_refs
from harness.spec.spec_problems import DataPath, SpecProblem

_ABOUT_OTHERS = ("exclude", "resources")  # fields that name entries of the lists


def further_problems(spec: Spec, plugins: Mapping[DataPath, ResolvedPlugin], registry: Registry) -> list[SpecProblem]:
    """The problems of the spec without the entries that are not among ``plugins``; what may only follow from that they
    are left out is no problem of it.
    """
    kept = {
        field: [
            index
            for index, entry in enumerate(getattr(spec, field))
            if all(path in plugins for path, _ in entry_refs(entry, (field, index)))
        ]
        for field in PLUGIN_LISTS
    }
    if not all(kept.values()) or ("judge",) not in plugins:
        return []
    lists = {field: tuple(getattr(spec, field)[index] for index in indices) for field, indices in kept.items()}
    moved: dict[DataPath, ResolvedPlugin] = {("judge",): plugins["judge",]}
    for field, indices in kept.items():
        for now, index in enumerate(indices):
            for path, _ in entry_refs(getattr(spec, field)[index], (field, index)):
                moved[field, now, *path[2:]] = plugins[path]
    found: list[SpecProblem] = []
    expand(spec.model_copy(update=lists), moved, registry, found)

    def written(path: DataPath | None) -> DataPath | None:
        if path is None or len(path) < 2 or path[0] not in kept:
            return path
        return path[0], kept[str(path[0])][int(path[1])], *path[2:]

    return [
        SpecProblem(written(problem.path) or (), problem.message, written(problem.other), problem.at)
        for problem in found
        if problem.path[:1] not in {(field,) for field in _ABOUT_OTHERS}
    ]
