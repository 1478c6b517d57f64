"""``python -m leaderboard.submission.verification.child FILE``: one file inspected under limits that the kernel keeps.

Prints lines of JSON: progress, and at last what was found or why the file is refused.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from leaderboard.submission.file_format.limits import CPU_SECONDS, MEMORY_BYTES


def limit() -> None:
    """From here on: a bounded address space and time, and no byte written to any file."""
    try:
        import resource
    except ImportError:  # not on every system; the limits of `limits` hold there as well
        return
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def main(path: str) -> None:
    """Inspect one file."""
    import numpy as np
    import pyarrow as pa

    # One thread, so that memory does not depend on the machine; the system's allocator gives memory back at once.
    pa.set_cpu_count(1)
    pa.set_memory_pool(pa.system_memory_pool())
    limit()
    from leaderboard.submission.file_format.errors import RefusedError, shown
    from leaderboard.submission.verification.inspect import inspect

    def seen(done: int, total: int) -> None:
        if done == total or done % 100 == 0:
            _say({"done": done, "total": total})

    try:
        with np.errstate(all="ignore"):
            found = inspect(Path(path), seen)
        _say({"found": found.to_json()})
    except RefusedError as error:
        _say({"refused": str(error)})
    except MemoryError:
        _say({"memory": True})
    except Exception as error:
        # A reader that trips over a file has found something wrong with it.
        text = shown(f"{type(error).__name__}: {error}", 200)
        _say(
            {"memory": True}
            if "realloc" in text or "malloc" in text
            else {"refused": f"{path}: cannot be read ({text})"}
        )


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
