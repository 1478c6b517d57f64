"""Independent parts of a large job, shared between processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

MIN_CELLS = 1000  # with fewer, starting processes takes about as long as it saves
MAX_PROCESSES = 8  # each takes about 200 MiB
Job = TypeVar("Job")
Result = TypeVar("Result")


def usable_processes() -> int:
    """How many processes this machine has cores for, at most `MAX_PROCESSES`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, MAX_PROCESSES))


def map_in_processes(
    function: Callable[[Job], Result], jobs: Sequence[Job], cells: int, processes: int
) -> list[Result]:
    """``function`` of each of ``jobs``, in their order: the same results and first error for any ``processes``.

    Args:
        function: of a module, of one job alone.
        cells: of all jobs together; below `MIN_CELLS` no process is started.
        processes: at most this many. A script that gives more than 1 must be one that can be imported: processes are
            spawned.
    """
    count = min(processes, len(jobs))
    if count < 2 or cells < MIN_CELLS:
        return [function(job) for job in jobs]
    context = multiprocessing.get_context("spawn")
    results: list[Result] = []
    with ProcessPoolExecutor(count, context, initializer=_ignore_interrupts) as pool:
        try:
            # Few jobs at a time: who is done early takes more.
            for result in pool.map(function, jobs, chunksize=max(1, min(4, len(jobs) // (8 * count)))):
                results.append(result)
        except BrokenProcessPool:  # one was killed, or none can be started here
            return results + [function(job) for job in jobs[len(results) :]]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return results


def _ignore_interrupts() -> None:
    """They are for the process that started this one: it ends all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
