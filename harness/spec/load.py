"""From a spec file to cells, in one call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.api.params import relative_to
from harness.hashing import canonical_json, content_key
from harness.registry.registry import Registry
from harness.registry.resolved import ResolvedPlugin
from harness.spec.cells import CellSpec, cells_of
from harness.spec.model import PLUGIN_LISTS, DefenseEntry, Spec
from harness.spec.parse import parts_at, refs_from, refs_of, spec_from
from harness.spec.problems import DataPath, InvalidSpecError, SpecProblem
from harness.spec.resolve import choose_all
from harness.spec.yaml_file import YamlFile, read_yaml, read_yaml_file


@dataclass(frozen=True)
class LoadedSpec:
    """A spec that can be run.

    Attributes:
        spec: what was written, with defaults filled in.
        cells: in the order of the product.
        text: the file as it is, comments and all.
        resolved: what the hash is taken of: every parameter and the version of every plugin, as JSON data.
        hash: sha256 of ``resolved``, 64 hexadecimal digits; formatting, comments, key order, `summary`,
            `resources` and `step_seconds` do not count.
        path: of the file.
    """

    spec: Spec
    cells: tuple[CellSpec, ...]
    text: str
    resolved: dict[str, Any]
    hash: str
    path: Path


def load_spec(path: str | Path, registry: Registry) -> LoadedSpec:
    """Read, check and expand a spec file. Relative paths in parameters (`harness.SpecPath`) count from its folder.

    Raises:
        InvalidSpecError: one line ``FILE:LINE: field: what; how to mend it`` for each problem; also has them as data.
    """
    path = Path(path)
    return _load(read_yaml_file(path), path, registry)


def read_spec(text: str, name: str, folder: Path, registry: Registry) -> LoadedSpec:
    """The same for a text that is no file; ``name`` stands for it in messages, paths in it count from ``folder``."""
    return _load(read_yaml(text, name), folder / name, registry)


def _load(file: YamlFile, path: Path, registry: Registry) -> LoadedSpec:
    problems: list[SpecProblem] = []
    with relative_to(path.parent):
        spec = spec_from(file.data, problems)
        written = refs_from(file.data, problems)
        chosen = choose_all(refs_of(spec, written) if spec else written, registry, problems)
        cells = [] if spec is None or problems else cells_of(spec, chosen, registry, problems)
    if spec is None or problems:
        raise InvalidSpecError(file.name, problems, file.positions)
    resolved = resolve_spec(spec, chosen)
    return LoadedSpec(spec, tuple(cells), file.text, resolved, content_key(resolved, 64), path)


def _entry_identity(entry: DefenseEntry, index: int, chosen: dict[DataPath, ResolvedPlugin]) -> Any:
    """Of one entry of ``defenses``."""
    found = [chosen[path].identity() for path, _ in parts_at(entry, ("defenses", index))]
    if entry.single is not None:
        return found[0]
    return {"stack": found, "non_adaptive": entry.non_adaptive}


def resolve_spec(spec: Spec, chosen: dict[DataPath, ResolvedPlugin]) -> dict[str, Any]:
    """Everything that a spec asks for, as JSON data; plugins by identity."""
    outside = {"summary", "resources", "step_seconds"}  # cannot change a number
    plain = spec.model_dump(mode="json", exclude={*outside, "judge", "exclude", "threats", *PLUGIN_LISTS})
    for name in ("attack_draws", "judge_draws"):  # so that hashes are those of before there were any
        if plain[name] == Spec.model_fields[name].default:
            del plain[name]
    plugins: dict[str, list[Any]] = {
        field: [chosen[field, i].identity() for i in range(len(getattr(spec, field)))]
        for field in PLUGIN_LISTS
        if field != "defenses"
    }
    plugins["defenses"] = [_entry_identity(entry, i, chosen) for i, entry in enumerate(spec.defenses)]
    exclude = [entry.model_dump(mode="json", exclude_unset=True) for entry in spec.exclude]
    exclude.sort(key=canonical_json)  # which combinations are left does not depend on the order
    return {
        **plain,
        **plugins,
        "judge": chosen["judge",].identity(),
        "threats": [threat.identity() for threat in spec.threats],
        "exclude": exclude,
    }
