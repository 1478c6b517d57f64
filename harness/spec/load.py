"""From a spec file to cells, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.api.params import relative_to
from harness.errors import DataError
from harness.hashing import canonical_json, content_key
from harness.records.judge_calibration import JudgeCalibration, read_calibration
from harness.registry.registry import Registry
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.spec.axes import make_axes, resolve_refs
from harness.spec.cells import CellSpec, expand
from harness.spec.checks.utility import utility_tasks
from harness.spec.fields import PLUGIN_LISTS, DefenseEntry, Spec
from harness.spec.further_problems import further_problems
from harness.spec.parse import entry_refs, parse_refs, parse_spec, spec_refs
from harness.spec.spec_problems import DataPath, InvalidSpecError, SpecProblem
from harness.spec.yaml_file import YamlFile, read_yaml, read_yaml_file


@dataclass(frozen=True)
class LoadedSpec:
    """A spec that can be run.

    Attributes:
        spec: what was written, with defaults filled in.
        cells: in the order of the product.
        text: the file as it is, comments and all.
        identity: what the hash is taken of: every parameter and the version of every plugin, as JSON data.
        hash: sha256 of ``identity``, 64 hexadecimal digits; formatting, comments, key order, `summary`,
            `resources`, `step_seconds` and `judge_calibration` do not count.
        path: of the file.
        plain_folders: names in it that are folders here, and would be hub ids where these are not.
        calibration: of its judge, where the spec names one.
        utility_tasks: labels of the tasks that `utility.tasks` means.
    """

    spec: Spec
    cells: tuple[CellSpec, ...]
    text: str
    identity: dict[str, Any]
    hash: str
    path: Path
    plain_folders: tuple[str, ...] = ()
    calibration: JudgeCalibration | None = None
    utility_tasks: tuple[str, ...] = ()


def load_spec(path: str | Path, registry: Registry) -> LoadedSpec:
    """Read, check and expand a spec file. Relative paths in parameters (`harness.SpecPath`) count from its folder.

    Raises:
        InvalidSpecError: one line ``FILE:LINE: field: what; how to fix it`` for each problem; also has them as data.
    """
    path = Path(path)
    file = read_yaml_file(path)
    return _with_calibration(_load(file, path, registry), file)


def read_spec(text: str, name: str, folder: Path, registry: Registry, plain_folders: Sequence[str] = ()) -> LoadedSpec:
    """The same for a text that is no file; ``name`` stands for it in messages, paths in it count from ``folder``.

    Args:
        plain_folders: as `LoadedSpec` has them, where these folders may not be here.
    """
    return _load(read_yaml(text, name), folder / name, registry, plain_folders)


def _load(file: YamlFile, path: Path, registry: Registry, plain_folders: Sequence[str] = ()) -> LoadedSpec:
    problems: list[SpecProblem] = []
    with relative_to(path.parent, plain_folders) as plain:
        spec = parse_spec(file.data, problems)
        written = parse_refs(file.data, problems)
        plugins = resolve_refs(spec_refs(spec, written) if spec else written, registry, problems)
        cells = [] if spec is None or problems else expand(spec, plugins, registry, problems)
        if spec is not None and problems and not cells:
            problems += further_problems(spec, plugins, registry)
        utility = () if spec is None or problems else _utility_labels(spec, plugins, registry)
    if spec is None or problems:
        raise InvalidSpecError(file.name, problems, file.positions, plugins)
    identity, folders = spec_identity(spec, plugins), tuple(sorted(plain))
    hash_ = content_key(identity, 64)
    return LoadedSpec(spec, tuple(cells), file.text, identity, hash_, path, folders, utility_tasks=utility)


def _utility_labels(spec: Spec, plugins: dict[DataPath, ResolvedPlugin], registry: Registry) -> tuple[str, ...]:
    if spec.utility is None:
        return ()
    axes = make_axes(spec, plugins, registry, [])
    return tuple(axes.tasks.plugins[index].label for index in utility_tasks(spec, axes, registry, []))


def _with_calibration(loaded: LoadedSpec, file: YamlFile) -> LoadedSpec:
    """With what the spec says of its judge's errors; a text that is no file is read without."""
    if loaded.spec.judge_calibration is None:
        return loaded
    try:
        found = read_calibration(loaded.path.parent / loaded.spec.judge_calibration)
    except DataError as error:
        wrong = str(error)
    else:
        judge = next(cell.judge for cell in loaded.cells if cell.judge.name == loaded.spec.judge.name)
        if (found.judge.name, found.judge.params) == (judge.name, judge.recorded()):
            return replace(loaded, calibration=found)
        wrong = f"is of the judge {found.judge.label}, and the spec's is {judge.label}; calibrate that one"
    raise InvalidSpecError(file.name, [SpecProblem(("judge_calibration",), wrong)], file.positions)


def _entry_identity(entry: DefenseEntry, index: int, plugins: dict[DataPath, ResolvedPlugin]) -> Any:
    """The identity of one entry of ``defenses``."""
    found = [plugins[path].identity() for path, _ in entry_refs(entry, ("defenses", index))]
    if entry.single is not None:
        return found[0]
    return {"stack": found, "non_adaptive": entry.non_adaptive}


def spec_identity(spec: Spec, plugins: dict[DataPath, ResolvedPlugin]) -> dict[str, Any]:
    """Everything of a spec that can change a number, as JSON data.

    Args:
        plugins: what its references were resolved to, by path.
    """
    outside = {"summary", "resources", "step_seconds", "judge_calibration"}  # cannot change a number
    plain = spec.model_dump(mode="json", exclude={*outside, "judge", "exclude", "threats", *PLUGIN_LISTS})
    for name in (
        "attack_draws",
        "judge_draws",
        "clean_floor",
        "training_threads",
        "diagnostics",
    ):  # so that hashes are those of before there were any
        if plain[name] == Spec.model_fields[name].default:
            del plain[name]
    del plain["answers"], plain["utility"]
    if spec.utility is not None:
        plain["utility"] = spec.utility.identity()
    if answers := spec.answers.identity():
        plain["answers"] = answers
    lists: dict[str, list[Any]] = {
        field: [plugins[field, i].identity() for i in range(len(getattr(spec, field)))]
        for field in PLUGIN_LISTS
        if field != "defenses"
    }
    for entry, of in zip(spec.attacks, lists["attacks"], strict=True):
        if entry.tuned is not None:
            of["tuned"] = entry.tuned.model_dump(mode="json")
    lists["defenses"] = [_entry_identity(entry, i, plugins) for i, entry in enumerate(spec.defenses)]
    exclude = [entry.model_dump(mode="json", exclude_unset=True) for entry in spec.exclude]
    exclude.sort(key=canonical_json)  # which combinations are left does not depend on the order
    return {
        **plain,
        **lists,
        "judge": plugins["judge",].identity(),
        "threats": [threat.identity() for threat in spec.threats],
        "exclude": exclude,
    }
