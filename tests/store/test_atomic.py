"""A file is the old one or the new one, whole, and nothing is left next to it."""

from __future__ import annotations

import json
import os
import signal
from multiprocessing import get_context
from pathlib import Path

import pytest

from harness.store.atomic import write_file, write_json
from tests.processes import LONGEST


def test_new_content_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"b": 1, "a": [1.5, None]})
    write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("new but ha")
        raise error

    with pytest.raises(error):
        write_file(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_know_are_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file", {"x": value})
    assert list(tmp_path.iterdir()) == []


def write_and_die(path: Path) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text("new but ha")
        os.kill(os.getpid(), signal.SIGKILL)

    write_file(path, write)


def test_a_kill_in_the_middle_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    process = get_context("spawn").Process(target=write_and_die, args=(path,))
    process.start()
    process.join(LONGEST)
    assert process.exitcode == -signal.SIGKILL
    assert path.read_text() == "old"
