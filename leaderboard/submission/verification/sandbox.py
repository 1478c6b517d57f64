"""A stranger's file is first read in a process of its own, so that no file can take more than that process may."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from threading import Thread
from typing import IO, Any

from leaderboard.submission.file_format.errors import RefusedError, escaped
from leaderboard.submission.file_format.limits import MAX_CPU_SECONDS, MAX_MEMORY_BYTES
from leaderboard.submission.submission import Submission, open_submission
from leaderboard.submission.verification.inspection import Inspection, Progress

CHILD = ("-m", "leaderboard.submission.verification.sandbox_child")
# Some libraries reserve memory for every thread they might start.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_IO_THREADS"), "1")


def open_inspected(path: Path, progress: Progress = lambda _done, _total: None) -> tuple[Submission, Inspection]:
    """A submission that was inspected in the sandbox, and what was found.

    Raises:
        RefusedError: as `inspect_in_sandbox`, or the file was changed in the meantime.
    """
    inspection = inspect_in_sandbox(path, progress)
    submission = open_submission(path)
    if submission.read_sha256 != inspection.read_sha256:
        raise RefusedError(f"{path}: was changed while it was read")
    return submission, inspection


def refuse_unsound(path: Path, inspection: Inspection) -> None:
    """Raise RefusedError where an inspection has found anything that a reader of entries or claims may not overlook."""
    problems = [*inspection.problems, *([inspection.hidden] if inspection.hidden else [])]
    if problems:
        raise RefusedError(f"{path}: {problems[0].rstrip('.')}. `harness leaderboard verify {path}` says everything.")


def inspect_in_sandbox(path: Path, progress: Progress = lambda _done, _total: None) -> Inspection:
    """`inspect_submission`, in a process with bounded memory and time that can write nothing.

    Raises:
        RefusedError: the file cannot be read as a submission, or not within those bounds.
    """
    command = [sys.executable, "-P", *CHILD, str(path)]
    result: dict[str, Any] = {}
    other_lines: deque[str] = deque(maxlen=8)  # what a library or the interpreter said before it gave up
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | _ONE_THREAD,
        errors="replace",
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            # What is said there may quote the file: it is never taken for an answer.
            reader = Thread(target=_keep_last, args=(process.stderr, other_lines))
            reader.start()
            for line in process.stdout:
                message = _message(line)
                if "done" in message:
                    progress(message["done"], message["total"])
                elif message:
                    result = message
            reader.join()
        except BaseException:
            process.kill()
            raise
    status = process.returncode
    if "inspection" in result:
        return Inspection(**result["inspection"])
    if "refused" in result:
        raise RefusedError(str(result["refused"]))
    if "memory" in result or any("MemoryError" in line or "bad_alloc" in line for line in other_lines):
        mebibytes = MAX_MEMORY_BYTES // 2**20
        raise RefusedError(f"{path}: takes more than {mebibytes:,} MiB of memory to check. Split the spec.")
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        raise RefusedError(f"{path}: takes more than {MAX_CPU_SECONDS} s of computing to check, or was stopped")
    last_line = f": {escaped(other_lines[-1], 200)}" if other_lines else ""
    raise RefusedError(f"{path}: the process that reads it ended without an answer (status {status}{last_line})")


def _message(line: str) -> dict[str, Any]:
    """A line of the child; nothing of one that was cut short when the child was stopped."""
    try:
        message: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return message


def _keep_last(stream: IO[str], lines: deque[str]) -> None:
    lines.extend(line.strip() for line in stream)
