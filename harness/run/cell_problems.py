"""What keeps cells of a spec from being run, found without making anything: missing data, files and models, and attacks
that their victims or defenses do not answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from harness.api.params import relative_to
from harness.api.plugin import Kind
from harness.engine.generators import call_plugin
from harness.errors import error_text
from harness.registry.registry import Registry
from harness.registry.resolved_plugin import ResolvedPlugin, plugin_key
from harness.run.cell.attack import access_errors, fit_errors, inner_attack_errors
from harness.run.cell_label import cell_label
from harness.run.prepare.resolved_cell import CellResolver, ResolvedCell
from harness.spec.cells import CellSpec
from harness.spec.load import LoadedSpec
from harness.spec.spec_problems import DataPath, InvalidSpecError, SpecProblem
from harness.spec.yaml_file import read_yaml_file

_Found = TypeVar("_Found")
_KINDS: dict[str, Kind] = {"tasks": "task", "victims": "victim", "attacks": "attack"}


def check_cells(spec: LoadedSpec, resolver: CellResolver) -> list[ResolvedCell]:
    """Load the data of every cell, find its models, and see whether its attack can be run; the cells worked out.

    Raises:
        InvalidSpecError: as `runnable_cells` tells.
    """
    cells, error = runnable_cells(spec, resolver)
    if error is not None:
        raise error
    return cells


def runnable_cells(spec: LoadedSpec, resolver: CellResolver) -> tuple[list[ResolvedCell], InvalidSpecError | None]:
    """The cells that can be run, worked out; and why the others cannot: each reason once, where the spec names what it
    is about.
    """
    runnable: list[ResolvedCell] = []
    found: Counter[tuple[DataPath, str]] = Counter()
    example: dict[tuple[DataPath, str], CellSpec] = {}
    place = _places(spec, resolver.registry)
    for cell in spec.cells:
        resolved = _resolved(cell, resolver)
        if isinstance(resolved, ResolvedCell):
            runnable.append(resolved)
            continue
        for about, why in dict.fromkeys((place(about), why) for about, why in resolved):
            found[about, why] += 1
            example.setdefault((about, why), cell)
    if found:
        problems = [
            SpecProblem(path, f"{why} (so {_in_words(count, example[path, why])} cannot be run)")
            for (path, why), count in found.items()
        ]
        return runnable, InvalidSpecError(str(spec.path), problems, read_yaml_file(spec.path).positions)
    return runnable, None


def remarks(cells: Sequence[ResolvedCell]) -> list[str]:
    """What victims, and models that are asked besides, have to say of their settings before a run; each once."""
    found: dict[str, None] = {}
    seen: set[tuple[str, str]] = set()
    for cell in cells:
        others = [auxiliary.model for auxiliary in cell.auxiliary.values() if auxiliary.model is not None]
        for victim, data in ((cell.spec.victim, cell.data), *((model.victim, model.data) for model in others)):
            about = (plugin_key(victim), data.hash)
            if about not in seen:
                seen.add(about)
                lines = call_plugin(f"victim {victim.name}", victim.plugin.remarks, data)
                found |= dict.fromkeys(f"{victim.label}: {line}" for line in lines)
    return list(found)


def _in_words(count: int, cell: CellSpec) -> str:
    label = cell_label(cell)
    return label if count == 1 else f"{count} cells, such as {label},"


def _resolved(cell: CellSpec, resolver: CellResolver) -> ResolvedCell | list[tuple[ResolvedPlugin, str]]:
    """The cell worked out; where it cannot be run, each reason, and the plugin in which it lies. What is not told
    follows from a reason that is.
    """
    problems: list[tuple[ResolvedPlugin, str]] = []
    data = _tried(lambda: resolver.data(cell), cell.task, problems)
    if data is None:
        _tried(cell.victim.fingerprint, cell.victim, problems)
        return problems
    _tried(lambda: resolver.check_victim(cell), cell.victim, problems)
    if problems:
        return problems + [(cell.attack, error_text(error)) for error in fit_errors(cell, data)]
    resolved = _tried(lambda: resolver.resolve(cell), cell.attack, problems)
    for errors in (access_errors(cell, data), inner_attack_errors(cell, data, resolver.attack)):
        told = _tried(lambda errors=errors: list(errors), cell.attack, problems)  # type: ignore[misc]
        problems += [(cell.attack, error_text(error)) for error in told or ()]
    return resolved if resolved is not None and not problems else problems


def _tried(
    what: Callable[[], _Found], about: ResolvedPlugin, problems: list[tuple[ResolvedPlugin, str]]
) -> _Found | None:
    """What it returns; None where it raises, which is then a problem of that plugin."""
    try:
        return what()
    except Exception as error:
        problems.append((about, error_text(error)))
        return None


def problems_of_files(error: InvalidSpecError, resolver: CellResolver, path: Path) -> InvalidSpecError:
    """The error of a spec that makes no cells, and what is wrong with the data and models that it names besides."""
    found: list[SpecProblem] = list(error.problems)
    for place, plugin in error.resolved.items():
        problems: list[tuple[ResolvedPlugin, str]] = []
        if plugin.kind == "task":
            _tried(lambda plugin=plugin: resolver.task_data(plugin), plugin, problems)  # type: ignore[misc]
        elif plugin.kind == "victim":
            _tried(plugin.fingerprint, plugin, problems)
        found += [SpecProblem(place, why) for _, why in problems]
    return InvalidSpecError(error.file, found, read_yaml_file(path).positions)


def _places(spec: LoadedSpec, registry: Registry) -> Callable[[ResolvedPlugin], DataPath]:
    """Where the spec names a plugin."""
    paths: dict[tuple[str, str], DataPath] = {}
    with relative_to(spec.path.parent):
        for name, kind in _KINDS.items():
            for index, ref in enumerate(getattr(spec.spec, name)):
                key = plugin_key(registry.resolve(kind, ref))
                paths.setdefault((kind, key), (name, index))
    return lambda plugin: paths.get((plugin.kind, plugin_key(plugin)), ())
