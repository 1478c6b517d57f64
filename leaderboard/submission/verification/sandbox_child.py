"""``python -m leaderboard.submission.verification.sandbox_child FILE``: inspects one file under limits of the kernel.

Writes lines of JSON to what was its standard output: progress, and at last the inspection or why the file is refused.
What anything else prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from leaderboard.submission.file_format.limits import MAX_CPU_SECONDS, MAX_MEMORY_BYTES

_answers: TextIO = sys.stdout


class _WithoutPandas:
    """A finder of modules: Arrow would import pandas where it is installed, and nothing here is of it."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name, name=name)


def set_limits() -> None:
    """From here on: a bounded address space and time, and no byte written to any file."""
    try:
        import resource
    except ImportError:  # not on every system; the limits of `limits` hold there as well
        return
    for what, limit in (
        (resource.RLIMIT_AS, MAX_MEMORY_BYTES),
        (resource.RLIMIT_CPU, MAX_CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def main(path: str) -> None:
    """Inspect one file."""
    global _answers
    _answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.meta_path.insert(0, _WithoutPandas)
    import numpy as np
    import pyarrow as pa

    # One thread, so that memory does not depend on the machine; the system's allocator gives memory back at once.
    pa.set_cpu_count(1)
    pa.set_memory_pool(pa.system_memory_pool())
    set_limits()
    from leaderboard.submission.file_format.errors import RefusedError, escaped
    from leaderboard.submission.verification.inspection import inspect_submission

    def progress(done: int, total: int) -> None:
        if done == total or done % 100 == 0:
            _send({"done": done, "total": total})

    try:
        with np.errstate(all="ignore"):
            inspection = inspect_submission(Path(path), progress)
        _send({"inspection": inspection.to_json()})
    except RefusedError as error:
        _send({"refused": str(error)})
    except MemoryError:
        _send({"memory": True})
    except Exception as error:
        # A reader that trips over a file has found something wrong with it.
        text = escaped(f"{type(error).__name__}: {error}", 200)
        out_of_memory = "realloc" in text or "malloc" in text
        _send({"memory": True} if out_of_memory else {"refused": f"{path}: cannot be read ({text})"})


def _send(message: dict[str, Any]) -> None:
    _answers.write(json.dumps(message) + "\n")
    _answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
