"""Independent parts of a large job, shared between processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

WORTH = 1000  # cells; with fewer, starting processes takes about as long as it saves
MOST = 8  # processes; each takes about 200 MiB
Job = TypeVar("Job")
Result = TypeVar("Result")


def usable() -> int:
    """How many processes this machine has cores for, at most `MOST`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, MOST))


def shared(work: Callable[[Job], Result], jobs: Sequence[Job], cells: int, processes: int) -> list[Result]:
    """``work`` of each of ``jobs``, in their order: the same results, and the same first error, whatever the number of
    processes.

    Args:
        work: a function of a module, of one job alone.
        cells: of all jobs together; below `WORTH` no process is started.
        processes: at most this many. A script that gives more than 1 must be one that can be imported: processes are
            spawned.
    """
    count = min(processes, len(jobs))
    if count < 2 or cells < WORTH:
        return [work(job) for job in jobs]
    context = multiprocessing.get_context("spawn")
    done: list[Result] = []
    with ProcessPoolExecutor(count, context, initializer=_leave_interrupts) as pool:
        try:
            # Few jobs at a time: who is done early takes more.
            for result in pool.map(work, jobs, chunksize=max(1, min(4, len(jobs) // (8 * count)))):
                done.append(result)
        except BrokenProcessPool:  # one was killed, or none can be started here
            return done + [work(job) for job in jobs[len(done) :]]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return done


def _leave_interrupts() -> None:
    """To the process that started this one: it ends all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
