"""Fixtures: a registry of toy plugins, and a way to load a spec from text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.registry.registry import Registry
from harness.spec.load import LoadedSpec, load_spec
from tests.spec.toys import toy_registry

Load = Callable[[str], LoadedSpec]
Complain = Callable[[str], list[str]]


@pytest.fixture(scope="session")
def registry() -> Registry:
    return toy_registry()


@pytest.fixture
def load(tmp_path: Path, registry: Registry) -> Load:
    def write_and_load(text: str) -> LoadedSpec:
        path = tmp_path / "x.yaml"
        path.write_text(text, encoding="utf-8")
        return load_spec(path, registry)

    return write_and_load


@pytest.fixture
def complain(tmp_path: Path, load: Load) -> Complain:
    """The error lines of a spec that must be refused, with the folder cut off."""

    def lines(text: str) -> list[str]:
        with pytest.raises(SpecError) as caught:
            load(text)
        return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).split("\n")]

    return lines
