"""Processes that others started, as the tests that kill them look for them."""

from __future__ import annotations

import contextlib

import psutil

LONGEST = 900  # seconds to wait for a process or its end: no measure, a net for what hangs


def started_by(pid: int, word: str) -> list[psutil.Process]:
    """Processes that live, come from this one (or from one that did) and have `word` in their command line.

    One that ends while it is looked at is none of them, and a process that is gone has none.
    """
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # of which ZombieProcess is one
                if word in " ".join(process.cmdline()):
                    found.append(process)
    return found


def parent_of(process: psutil.Process) -> int | None:
    """The number of a process's parent; None of one that is gone."""
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None
