"""Whatever the file holds, loading gives a spec or a `SpecError`: no traceback, no hang."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings, strategies as st

from harness.api.threat import Threat
from harness.errors import SpecError
from harness.registry.loader import load_plugins
from harness.registry.registry import Registry
from harness.spec.load import LoadedSpec, load_spec
from tests.spec.test_cells import FULL
from tests.spec.toys import toy_registry

REGISTRY = toy_registry()
DATA = yaml.safe_load(FULL)
EXAMPLES = int(os.environ.get("HARNESS_FUZZ_EXAMPLES", "200"))  # thousands when somebody wants to be sure
FUZZ = settings(max_examples=EXAMPLES, deadline=60_000, suppress_health_check=[HealthCheck.too_slow])

_SNIPPETS = sorted(
    {*FULL.split(), *"[]{}:,&a*a!|>'\"%@`#?-~<>", "\n", "\n  ", "- ", ": ", "---", "...", "\t", "\\U", "é"}
)
_WORDS = st.sampled_from(["tiny", "gcg", "none", "word_length", "size", "steps", "attack", "name", "params", "no", "s"])
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | _WORDS
_KEYS = _WORDS | st.text(max_size=3)
_TREES = st.recursive(_LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "x.yaml"


def _check(file: Path, content: bytes, registry: Registry = REGISTRY) -> None:
    file.write_bytes(content)
    try:
        assert isinstance(load_spec(file, registry), LoadedSpec)
    except SpecError as error:
        lines = str(error).split("\n")
        assert all(line.startswith(f"{file}:") and line.isprintable() for line in lines), lines


@given(st.binary(max_size=200))
@example(b"\xff")
@FUZZ
def test_any_bytes(file: Path, content: bytes) -> None:
    _check(file, content)


@given(st.text(max_size=200))
@example("%YAML 1." + "9" * 5000 + "\n---\na")
@example('"\\U00110000"')
@FUZZ
def test_any_text(file: Path, text: str) -> None:
    _check(file, text.encode("utf-8", "surrogatepass"))


@given(st.lists(st.sampled_from(_SNIPPETS), max_size=40))
@FUZZ
def test_any_pieces_of_a_spec(file: Path, pieces: list[str]) -> None:
    _check(file, "".join(pieces).encode())
    _check(file, (FULL + "".join(pieces)).encode())


@given(st.integers(0, len(FULL)), st.integers(0, 30), st.sampled_from(_SNIPPETS) | st.text(max_size=5))
@FUZZ
def test_a_spec_with_a_slip(file: Path, at: int, cut: int, put: str) -> None:
    _check(file, (FULL[:at] + put + FULL[at + cut :]).encode("utf-8", "surrogatepass"))


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in inner for place in _places(value, (*path, key)))]


@given(st.sampled_from(_places(DATA)[1:]), _TREES)
@FUZZ
def test_a_spec_with_another_value_somewhere(file: Path, place: tuple[Any, ...], value: Any) -> None:
    data = copy.deepcopy(DATA)
    parent = data
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    _check(file, yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass"))


_BUILT_IN = load_plugins().registry
_KINDS = {"task": "tasks", "victim": "victims", "defense": "defenses", "attack": "attacks"}


@given(st.data())
@settings(FUZZ, max_examples=EXAMPLES // 2)
def test_any_value_for_any_parameter_of_a_built_in(file: Path, data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from([entry for entry in _BUILT_IN.entries() if entry.kind in _KINDS]))
    names = [*entry.cls.Params.model_fields, "no_such_"]
    params = data.draw(st.dictionaries(st.sampled_from(names), _TREES, max_size=3))
    spec = {
        "name": "x",
        "version": "1",
        "tasks": ["word_length"],
        "victims": ["tiny"],
        "defenses": ["none"],
        "attacks": ["none"],
        _KINDS[entry.kind]: [{entry.name: params}],
        "threats": [data.draw(st.dictionaries(st.sampled_from(list(Threat.model_fields)), _LEAVES, max_size=3))],
    }
    _check(file, yaml.safe_dump(spec, allow_unicode=True).encode("utf-8", "surrogatepass"), _BUILT_IN)


@given(
    st.lists(st.dictionaries(st.sampled_from(["task", "victim", "attack", "seed", "round", "x"]), _TREES), max_size=4)
)
@settings(FUZZ, max_examples=EXAMPLES // 2)
def test_any_excludes(file: Path, excludes: list[Any]) -> None:
    data = DATA | {"exclude": excludes}
    _check(file, yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("depth", [50, 2000])
def test_nesting_without_end(file: Path, depth: int) -> None:
    _check(file, b"name: " + b"[" * depth)
    _check(file, b"name: " + b"{a: " * depth + b"1" + b"}" * depth)
    _check(file, FULL.encode() + b"\nsummary: &a [*a, *a]\n")
