"""No file takes more memory, time or disk than is stated; no byte that is changed goes unnoticed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from leaderboard.submission.file_format.container import CELLS, MANIFEST, MEMBERS, RECORDS, write_container
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.file_format.limits import MAX_MEMORY_BYTES
from leaderboard.submission.file_format.strict_json import load_json
from leaderboard.submission.submission import open_submission
from leaderboard.submission.verification.sandbox import inspect_in_sandbox
from tests.leaderboard.submission.forge import Parts, forged, table_of, with_table
from tests.leaderboard.submission.hostile import JSON, Make
from tests.leaderboard.submission.hostile_table import TABLES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits of a process are those of Linux")

FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


MEASURE = """
import resource, subprocess, sys
child = [sys.executable, "-P", "-m", "leaderboard.submission.verification.sandbox_child", sys.argv[1]]
done = subprocess.run(child, capture_output=True)
sys.stdout.write(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss} {done.stdout.decode()}")
"""


# The same, by way of the guard.
GUARDED = """
import resource, sys
from pathlib import Path
from leaderboard.submission.verification.sandbox import inspect_in_sandbox
try:
    said = inspect_in_sandbox(Path(sys.argv[1]))
except Exception as error:
    said = f"{type(error).__name__}: {error}"
sys.stdout.write(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss} {said}")
"""


def peak(path: Path, how: str = MEASURE) -> tuple[int, str]:
    """Most memory (bytes) that the process which reads a file took, and what it said at last.

    It is started by a small process: what its parent takes would count as its own.
    """
    done = subprocess.run([sys.executable, "-c", how, str(path)], capture_output=True, text=True, check=True)
    used, _, said = done.stdout.partition(" ")
    return int(used) * 1024, said


BOMBS = {name: TABLES[name] for name in TABLES if "bomb" in name} | {
    name: JSON[name] for name in ("millions of empty lists", "deep nesting", "an endless integer")
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_little(name: str, parts: Parts, tmp_path: Path) -> None:
    BOMBS[name][0](parts, tmp_path / "bomb.zip")
    used, said = peak(tmp_path / "bomb.zip")
    assert '"refused"' in said
    assert used < 2**29


def test_what_a_library_prints_is_no_answer(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that gets its text printed, wherever to, must not be able to say that it was inspected."""
    said = {"inspection": {"sha256": "", "read_sha256": "", "cells": 1, "rows": 1}}
    child = f"""
import os, sys
import leaderboard.submission.verification.inspection as inspection
from leaderboard.submission.verification.sandbox_child import main

def printing(path, progress):
    for stream in (1, 2):
        os.write(stream, {json.dumps(said)!r}.encode() + bytes([10]))
    os._exit(0)

inspection.inspect_submission = printing
main(sys.argv[1])
"""
    monkeypatch.setattr("leaderboard.submission.verification.sandbox.CHILD", ("-c", child))
    with pytest.raises(RefusedError, match="ended without an answer"):
        inspect_in_sandbox(packed)


def test_a_name_twice_among_many_is_found_at_once() -> None:
    names = [f'"{at}": 0' for at in range(200_000)]
    raw = ("{" + ", ".join([*names, names[-1]]) + "}").encode()
    began = time.process_time()
    with pytest.raises(RefusedError, match="'199999' appears twice"):
        load_json(raw, "many.json")
    assert time.process_time() - began < 20  # seconds; in quadratic time it is some 15 minutes


def lying_list(parts: Parts, out: Path) -> None:
    """A list of 270 million tokens, over 4 GiB with room to grow, in some kilobytes; the footer says there are five."""
    count = 270_000_000
    found = table_of(parts).slice(0, 1)
    tokens = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), pa.array(np.zeros(count, dtype=np.int32)))
    sink = io.BytesIO()
    at = found.column_names.index("attack_tokens")
    found = found.set_column(at, "attack_tokens", tokens)
    pq.write_table(found, sink, store_schema=False, compression="zstd", write_statistics=False)
    content = sink.getvalue()
    length = int.from_bytes(content[-8:-4], "little") + 8
    footer = content[-length:].replace(varint(2 * count), b"\x8a\x80\x80\x80\x00")  # 5, as long as before
    assert footer != content[-length:]
    forged(with_table(parts, content[:-length] + footer, 1), out)


def varint(number: int) -> bytes:
    """As Thrift's compact protocol writes a whole number."""
    found = []
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


@pytest.mark.slow
def test_a_bomb_that_lies_about_itself(parts: Parts, tmp_path: Path) -> None:
    """No metadata gives it away: the limits of the process hold."""
    lying_list(parts, tmp_path / "bomb.zip")
    used, said = peak(tmp_path / "bomb.zip", GUARDED)
    assert used < MAX_MEMORY_BYTES
    assert said.startswith("RefusedError: ")
    assert "malloc" in said or "of memory to check" in said


LIMITED = """
from leaderboard.submission.verification.sandbox_child import set_limits
set_limits()
import sys
sys.stdout.write('limited')
"""


@pytest.mark.parametrize(
    "attempt",
    [
        f"bytearray({MAX_MEMORY_BYTES})",
        "import mmap; mmap.mmap(-1, 8 * 2**30)",
        "open('stolen', 'wb', buffering=0).write(b'x')",
    ],
)
def test_the_limits_hold(attempt: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED + attempt]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert done.returncode != 0
    assert done.stdout in ("", "limited")
    assert not any(path.stat().st_size for path in tmp_path.iterdir())


def test_reading_leaves_nothing_behind(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = sorted(packed.parent.iterdir())
    assert not inspect_in_sandbox(packed).problems
    assert sorted(packed.parent.iterdir()) == before
    assert not list(tmp_path.iterdir())


def test_reading_imports_nothing_that_is_slow(packed: Path) -> None:
    child = ["-X", "importtime", "-P", "-m", "leaderboard.submission.verification.sandbox_child", str(packed)]
    done = subprocess.run([sys.executable, *child], capture_output=True, text=True, check=True)
    assert '"inspection"' in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "pyarrow" in loaded
    assert not loaded & {"pandas.core.api", "scipy.stats", "scipy.optimize", "torch"}


def test_a_reader_that_dies(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leaderboard.submission.verification.sandbox.CHILD", ("-c", "import os; os.abort()"))
    with pytest.raises(RefusedError, match="ended without an answer"):
        inspect_in_sandbox(packed)


@FUZZ
@given(data=st.data())
def test_every_flipped_byte_is_noticed(data: st.DataObject, packed: Path, tmp_path: Path) -> None:
    whole = bytearray(packed.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4, unique=True)):
        whole[at] ^= data.draw(st.integers(1, 255))
    (tmp_path / "flipped.zip").write_bytes(whole)
    with pytest.raises(RefusedError) as caught:
        open_submission(tmp_path / "flipped.zip")
    assert str(caught.value).isprintable()


@FUZZ
@given(data=st.data())
def test_every_cut_is_noticed(data: st.DataObject, packed: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    begin, end = sorted(data.draw(st.lists(st.integers(0, len(whole)), min_size=2, max_size=2, unique=True)))
    (tmp_path / "cut.zip").write_bytes(whole[:begin] + whole[end:])
    with pytest.raises(RefusedError):
        open_submission(tmp_path / "cut.zip")


# Answers whether reading a file raised nothing else than a refusal (0), or how the process ended that read it: Arrow
# ends it at some footers, which is one reason for the sandbox.
READER = """
import os, sys, traceback
from pathlib import Path
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.verification.inspection import inspect_submission
for line in sys.stdin:
    child = os.fork()
    if not child:
        try:
            inspect_submission(Path(line[:-1]))
        except RefusedError:
            pass
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def reader() -> Iterator[Callable[[Path], int]]:
    """Reads a submission in a fork of a process that has imported what that takes; how the fork ended."""
    command = [sys.executable, "-c", READER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def read(path: Path) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield read
        process.kill()


@FUZZ
@given(data=st.data())
@pytest.mark.parametrize("name", [MANIFEST, CELLS, RECORDS])
def test_damage_with_hashes_that_fit(
    name: str, data: st.DataObject, parts: Parts, reader: Callable[[Path], int], tmp_path: Path
) -> None:
    """An error in words, or records that are as good as the true ones; never an exception, never a hang."""
    content = bytearray(parts[name])
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3, unique=True)):
        content[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    changed = parts | {name: bytes(content[:cut])}
    assert set(changed) == set(MEMBERS)
    if name == MANIFEST:
        write_container(tmp_path / "fuzzed.zip", changed)
    else:
        forged(changed, tmp_path / "fuzzed.zip")
    assert reader(tmp_path / "fuzzed.zip") in (0, -signal.SIGABRT)


def test_bombs_are_refused_by_the_guard_as_well(parts: Parts, tmp_path: Path) -> None:
    make: Make = BOMBS["a bomb of one text"][0]
    make(parts, tmp_path / "bomb.zip")
    with pytest.raises(RefusedError, match=r"when decoded|column"):
        inspect_in_sandbox(tmp_path / "bomb.zip")
