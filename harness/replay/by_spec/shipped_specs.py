"""Which spec a submission was made with: one that comes with the project, one that the reader holds, or its own."""

from __future__ import annotations

from pathlib import Path

from harness.errors import SpecError
from harness.registry.registry import Registry
from harness.spec.load import LoadedSpec, load_spec
from harness.spec.released import FOLDER
from harness.spec.yaml_file import read_yaml_file

SHIPPED = FOLDER


def shipped_spec(name: str, version: str, registry: Registry, folder: Path = SHIPPED) -> LoadedSpec | None:
    """The spec of that name and version that comes with the project, or None."""
    for path in sorted(folder.rglob("*.yaml")) if folder.is_dir() else []:
        try:
            said = read_yaml_file(path).data
            if isinstance(said, dict) and (said.get("name"), str(said.get("version"))) == (name, version):
                return load_spec(path, registry)
        except SpecError:
            continue  # it needs a plugin that is not here
    return None


def differing_fields(one: LoadedSpec, other: LoadedSpec) -> list[str]:
    """The fields in which two specs differ, as far as their hash is concerned."""
    names = one.identity.keys() | other.identity.keys()
    return sorted(name for name in names if one.identity.get(name) != other.identity.get(name))
