"""What a worker prints goes to a file that is cut while it is being written to."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness.isolation import captured_output as output
from tests.processes import LONGEST

# Prints in the middle of a cut, as another thread would.
MEANWHILE = """
import os, sys
from pathlib import Path
from harness.isolation import captured_output as output

output.MAX_BYTES, output.WATCH_SECONDS = 4000, 3600.0
cut = os.ftruncate

def cut_late(file, length):
    os.write(1, b"printed ")
    cut(file, length)
    os.write(2, b"meanwhile\\n")

os.ftruncate = cut_late
printed = output.CapturedOutput(Path(sys.argv[1]))
printed.redirect()
for burst in range(3):
    for line in range(300):
        print("burst", burst, "line", line)
    printed.flush()
os._exit(0)
"""


def test_what_is_printed_while_the_file_is_cut_stands_at_its_end(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "worker-0.txt"
    done = subprocess.run([sys.executable, "-c", MEANWHILE, str(log)], capture_output=True, timeout=LONGEST, check=True)
    assert done.stdout + done.stderr == b"", "all goes to the file"
    first, *lines = log.read_text().splitlines()
    assert first.endswith("bytes were printed here and not kept]")
    assert lines[-3:] == ["burst 2 line 298", "burst 2 line 299", "printed meanwhile"]
    assert log.stat().st_size < 4000


def test_a_full_disk_does_not_end_a_worker_that_flushes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    log = tmp_path / "worker-0.txt"
    log.write_text("printed\n" * 1000)
    printed = output.CapturedOutput(log)
    with monkeypatch.context() as changed:
        changed.setattr(output, "MAX_BYTES", 4000)
        changed.setattr(tempfile, "TemporaryFile", full)
        printed.flush()
        assert log.stat().st_size == 8000
        changed.undo()
        changed.setattr(output, "MAX_BYTES", 4000)
        printed.flush()
    assert log.stat().st_size < 2000


def test_the_file_takes_what_the_terminal_cannot_show(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom harness.isolation.captured_output import CapturedOutput\n"
        "CapturedOutput(Path(sys.argv[1])).redirect()\n"
        "print('gr\u00f6\u00dfe', '\\ud800')\nprint('\u4e2d', file=sys.stderr)"
    )
    log = tmp_path / "worker-0.txt"
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}
    subprocess.run([sys.executable, "-c", code, str(log)], timeout=LONGEST, check=True, env=environment)
    assert sorted(log.read_text("utf-8").splitlines()) == ["gr\u00f6\u00dfe \\ud800", "\u4e2d"]


def test_a_last_line_that_was_cut_off_is_ended(tmp_path: Path) -> None:
    for said, kept in ((b"one\ntw", b"one\ntw\n"), (b"one\n", b"one\n")):
        (tmp_path / "log").write_bytes(said)
        output.finish_log(tmp_path / "log")
        assert (tmp_path / "log").read_bytes() == kept
