"""When a worker process had better be replaced: too many files are left open, or its memory ran out."""

from __future__ import annotations

import gc
import resource
from dataclasses import dataclass, field

import psutil

MAX_LEAKED = 128  # files left open, before a fresh process is better
_LIMIT = 65536  # of open files, where the system allows so many


def _open_handles() -> int:
    return int(psutil.Process().num_fds())


@dataclass
class OpenFiles:
    """Counts the files that are left open from its creation on; first raises this process's limit as far as it may.

    Attributes:
        before: how many were open at its creation.
    """

    before: int = field(init=False)

    def __post_init__(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _LIMIT if hard == resource.RLIM_INFINITY else min(_LIMIT, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        self.before = _open_handles()

    def leaked(self) -> int:
        """How many more are open now, where that is more than `MAX_LEAKED`; else 0."""
        if _open_handles() - self.before <= MAX_LEAKED:
            return 0
        gc.collect()  # some only wait for that
        more = _open_handles() - self.before
        return more if more > MAX_LEAKED else 0


def restart_reason(error: str | None, handles: OpenFiles) -> str:
    """Why a fresh process had better do the next cell; "" where this one will do.

    Args:
        error: what the last cell failed with.
        handles: counted since before the first cell.
    """
    if error is not None and ("MemoryError" in error or "not enough memory" in error):
        return "all memory was used up"
    leaked = handles.leaked()
    return f"{leaked} files were left open" if leaked else ""
