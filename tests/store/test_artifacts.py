"""An artifact is made once, whole or not at all, whoever asks and whoever dies."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RunError
from harness.store.artifacts import FolderStore
from tests.processes import LONGEST

KEY = "0123456789abcdef0123"
IDENTITY = {"what": "victim", "seed": 0}


class Maker:
    """Makes an artifact of one file and counts how often."""

    def __init__(self, trace: Path, slow: float = 0.0) -> None:
        self.trace, self.slow = trace, slow

    def __call__(self, out: Path, scratch: Path) -> dict[str, Any]:
        with self.trace.open("a") as file:
            file.write("x")
        (out / "sub").mkdir()
        (out / "sub" / "weights").write_bytes(b"abc")
        time.sleep(self.slow)
        return {"compute": {"nominal": 1.0}}


def test_it_is_made_once_and_found_again(tmp_path: Path) -> None:
    store, make = FolderStore(tmp_path / "store"), Maker(tmp_path / "trace")
    assert store.find(KEY) is None
    made = store.ensure(KEY, IDENTITY, make)
    assert made.facts == {"compute": {"nominal": 1.0}}
    assert (made.folder / "sub" / "weights").read_bytes() == b"abc"
    assert made.manifest["identity"] == IDENTITY
    assert set(made.manifest["files"]) == {"sub/weights"}
    assert store.ensure(KEY, IDENTITY, make) == made == FolderStore(tmp_path / "store").find(KEY)
    assert (tmp_path / "trace").read_text() == "x"
    assert not list((tmp_path / "store" / ".partial").iterdir())


def ensure(root: Path, trace: Path, slow: float, answers: Any = None) -> None:
    found = FolderStore(root).ensure(KEY, IDENTITY, Maker(trace, slow))
    if answers is not None:
        answers.put(found.facts)


def test_processes_that_ask_at_once_make_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    arguments = (tmp_path / "store", tmp_path / "trace", 0.5, answers)
    processes = [context.Process(target=ensure, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=LONGEST) for _ in processes]
    for process in processes:
        process.join()
    assert found == [{"compute": {"nominal": 1.0}}] * 3
    assert (tmp_path / "trace").read_text() == "x"


def make_and_die(out: Path, scratch: Path) -> dict[str, Any]:
    (out / "half").write_text("half")
    (scratch / "checkpoint").write_text("step 7")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("dead by now")


def die_making(root: Path) -> None:
    FolderStore(root).ensure(KEY, IDENTITY, make_and_die)


def test_a_maker_that_is_killed_leaves_its_scratch_and_nothing_else(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=die_making, args=(tmp_path,))
    process.start()
    process.join(LONGEST)
    assert process.exitcode == -signal.SIGKILL
    store = FolderStore(tmp_path)
    assert store.find(KEY) is None
    seen = []

    def resume(out: Path, scratch: Path) -> dict[str, Any]:
        seen.extend([sorted(out.iterdir()), (scratch / "checkpoint").read_text()])
        return {}

    made = store.ensure(KEY, IDENTITY, resume)
    assert seen == [[], "step 7"]
    assert [path.name for path in made.folder.iterdir()] == ["manifest.json"]
    assert not (tmp_path / ".partial" / KEY).exists()


def test_what_a_kill_left_beside_a_finished_artifact_goes(tmp_path: Path) -> None:
    store, make = FolderStore(tmp_path / "store"), Maker(tmp_path / "trace")
    store.ensure(KEY, IDENTITY, make)
    (tmp_path / "store" / ".partial" / KEY / "scratch").mkdir(parents=True)
    store.ensure(KEY, IDENTITY, make)
    assert (tmp_path / "trace").read_text() == "x"
    assert not list((tmp_path / "store" / ".partial").iterdir())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_maker_that_raises_leaves_no_file_of_the_artifact(tmp_path: Path, error: type[BaseException]) -> None:
    def make(out: Path, scratch: Path) -> dict[str, Any]:
        (out / "large").write_bytes(b"0" * 1000)
        (scratch / "checkpoint").write_text("step 7")
        raise error("oops")

    store = FolderStore(tmp_path)
    with pytest.raises(error):
        store.ensure(KEY, IDENTITY, make)
    assert store.find(KEY) is None
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} - {KEY} == {"checkpoint"}  # KEY: the lock
    assert store.ensure(KEY, IDENTITY, lambda out, scratch: {}).facts == {}


def test_facts_that_are_no_json_make_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        FolderStore(tmp_path).ensure(KEY, IDENTITY, lambda out, scratch: {"loss": float("nan")})
    assert FolderStore(tmp_path).find(KEY) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"facts": 3}', "\x00"])
def test_a_damaged_manifest_is_named_with_its_mend(tmp_path: Path, text: str) -> None:
    store = FolderStore(tmp_path)
    made = store.ensure(KEY, IDENTITY, lambda out, scratch: {})
    (made.folder / "manifest.json").write_text(text)
    with pytest.raises(RunError, match="damaged manifest") as caught:
        store.ensure(KEY, IDENTITY, lambda out, scratch: {})
    assert str(made.folder) in str(caught.value)


def test_a_folder_without_a_manifest_is_made_anew(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    made = store.ensure(KEY, IDENTITY, Maker(tmp_path / "trace"))
    (made.folder / "manifest.json").unlink()
    (made.folder / "stale").touch()
    assert store.find(KEY) is None
    again = store.ensure(KEY, IDENTITY, Maker(tmp_path / "trace"))
    assert not (again.folder / "stale").exists()
    assert json.loads((again.folder / "manifest.json").read_text())["key"] == KEY
