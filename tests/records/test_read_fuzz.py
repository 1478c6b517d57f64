"""Whatever the files of a run hold, reading them gives a run or a `DataError` that names the file: no traceback, no
hang.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from harness.errors import DataError
from harness.records import VERSION
from harness.records.read import Run, read_run
from harness.records.schema import EXAMPLES, STEPS
from tests.leaderboard.fake_run import FakeCell, write_run

FUZZ = settings(
    max_examples=int(os.environ.get("HARNESS_FUZZ_EXAMPLES", "100")),
    deadline=60_000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_TREES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records") / "run"
    return write_run(folder, [FakeCell()])


@pytest.fixture(scope="module")
def run(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to be damaged; each test restores what it damaged."""
    folder = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(pristine, folder)
    return folder


def first_cell(run: Path) -> Path:
    return sorted((run / "cells").iterdir())[0]


def check(run: Path, file: Path, content: bytes) -> None:
    """Read everything with a file's content replaced."""
    before, said = file.read_bytes(), str(file)
    file.write_bytes(content)
    try:
        found = read_run(run)
        assert isinstance(found, Run)
        for cell in found:
            cell.steps()
            cell.examples()
    except DataError as error:
        said = str(error)
    finally:
        file.write_bytes(before)
    assert str(file) in said, said
    assert len(said) < 2000


def manifests(run: Path) -> list[Path]:
    return [run / "run.json", first_cell(run) / "cell.json"]


@given(st.binary(max_size=200), st.integers(0, 1))
@example(b"\xff\xfe", 0)
@example(b"[" * 100_000, 1)
@example(b'{"format": 1e400}', 1)
@example(b'{"format": ' + b"9" * 5000 + b"}", 0)
@FUZZ
def test_any_bytes_for_a_manifest(run: Path, content: bytes, which: int) -> None:
    check(run, manifests(run)[which], content)


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in inner for place in _places(value, (*path, key)))]


@given(st.data())
@FUZZ
def test_another_value_somewhere_in_a_manifest(run: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(manifests(run)))
    content = json.loads(file.read_text())
    place = data.draw(st.sampled_from(_places(content)[1:]))
    parent = content
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = data.draw(_TREES)
    check(run, file, json.dumps(content).encode())


@given(st.data())
@FUZZ
def test_a_table_with_bytes_changed_or_cut(run: Path, data: st.DataObject) -> None:
    file = first_cell(run) / data.draw(st.sampled_from(["steps.parquet", "examples.parquet"]))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    check(run, file, bytes(content[:cut] if data.draw(st.booleans()) else content))


@given(st.data())
@FUZZ
def test_a_table_of_another_form(run: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["steps", "examples"]))
    schema = {"steps": STEPS, "examples": EXAMPLES}[name]
    columns = data.draw(st.lists(st.sampled_from(schema.names), unique=True))
    kinds = [pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.list_(pa.int32())]
    other = pa.schema([(column, data.draw(st.sampled_from(kinds))) for column in columns])
    sink = pa.BufferOutputStream()
    pq.write_table(other.empty_table(), sink)
    check(run, first_cell(run) / f"{name}.parquet", sink.getvalue().to_pybytes())


@pytest.mark.parametrize("version", [0, 1, VERSION + 1, str(VERSION), None, True, VERSION + 0.5])
def test_another_version_is_named(run: Path, version: object) -> None:
    for file in manifests(run):
        before = file.read_text()
        file.write_text(json.dumps(json.loads(before) | {"format": version}))
        try:
            with pytest.raises(DataError) as caught:
                read_run(run)
            assert str(file) in str(caught.value)
            assert f"record format {version!r}, this version reads format {VERSION}" in str(caught.value)
        finally:
            file.write_text(before)
