"""What plugins leave behind in a process: files that are open, memory that is not given back."""

from __future__ import annotations

import gc
import resource
from dataclasses import dataclass, field

import psutil

MOST = 128  # left open, before a fresh process is better
_LIMIT = 65536  # of open files, where the system allows so many


def _open_handles() -> int:
    return int(psutil.Process().num_fds())


@dataclass
class OpenFiles:
    """Counts from its making on; first raises the limit of this process as far as it may."""

    before: int = field(init=False)

    def __post_init__(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _LIMIT if hard == resource.RLIM_INFINITY else min(_LIMIT, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        self.before = _open_handles()

    def leaked(self) -> int:
        """How many more are open now, where that is too many; else 0."""
        if _open_handles() - self.before <= MOST:
            return 0
        gc.collect()  # some only wait for that
        more = _open_handles() - self.before
        return more if more > MOST else 0


def worn_out(error: str | None, handles: OpenFiles) -> str:
    """What a cell did to this process, where a fresh one had better do the next; else "".

    Args:
        error: what the cell failed with.
    """
    if error is not None and ("MemoryError" in error or "not enough memory" in error):
        return "all memory was taken"
    leaked = handles.leaked()
    return f"{leaked} files were left open" if leaked else ""
