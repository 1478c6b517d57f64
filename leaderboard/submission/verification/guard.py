"""A stranger's file is first read in a process of its own, so that no file can take more than that process may."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

from leaderboard.submission.file_format.errors import RefusedError, shown
from leaderboard.submission.file_format.limits import CPU_SECONDS, MEMORY_BYTES
from leaderboard.submission.verification.inspect import Inspection, Seen

CHILD = ("-m", "leaderboard.submission.verification.child")
# Some libraries reserve memory for every thread they might start.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_IO_THREADS"), "1")


def inspect_guarded(path: Path, seen: Seen = lambda _done, _total: None) -> Inspection:
    """`inspect`, in a process with bounded memory and time that can write nothing.

    Raises:
        RefusedError: the file cannot be read as a submission, or not within those bounds.
    """
    command = [sys.executable, "-P", *CHILD, str(path)]
    last: dict[str, Any] = {}
    trouble: deque[str] = deque(maxlen=8)  # what a library or the interpreter said before it gave up
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | _ONE_THREAD,
        errors="replace",
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                said = _answer(line)
                if said is None:
                    trouble.append(line.strip())
                elif "done" in said:
                    seen(said["done"], said["total"])
                else:
                    last = said
        except BaseException:
            process.kill()
            raise
    code = process.returncode
    if "found" in last:
        return Inspection(**last["found"])
    if "refused" in last:
        raise RefusedError(str(last["refused"]))
    if "memory" in last or any("MemoryError" in line or "bad_alloc" in line for line in trouble):
        raise RefusedError(f"{path}: takes more than {MEMORY_BYTES // 2**20:,} MiB of memory to check. Split the spec.")
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        raise RefusedError(f"{path}: takes more than {CPU_SECONDS} s of computing to check, or was stopped")
    raise RefusedError(
        f"{path}: the process that reads it ended without an answer (status {code}"
        + (f": {shown(trouble[-1], 200)})" if trouble else ")")
    )


def _answer(line: str) -> dict[str, Any] | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
