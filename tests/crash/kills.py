"""Whom to kill, and when."""

from __future__ import annotations

import random
import time
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from tests.crash.watched import DOINGS, LOADING, OTHERWISE, STARTING, Watched
from tests.run import runs
from tests.run.runs import Started

ALL, DRIVER, WORKER, ENGINE = TARGETS = ("all processes", "the driver", "a worker", "vLLM's process")


def wait_until(run: Started, ready: Callable[[], object]) -> bool:
    """Whether it came about before the run ended."""
    while not ready():
        if run.process.poll() is not None:
            return False
        time.sleep(0.002)
    return True


@dataclass(frozen=True)
class Usual:
    """What was seen of the run that nobody disturbs: one worker did it.

    Attributes:
        began, ended: on the monotonic clock.
    """

    watched: Watched
    began: float
    ended: float

    def wait(self, run: Started, watched: Watched, rng: random.Random, after: float, jobs: int) -> bool:
        """Wait in another run for the like of a random moment after this one; whether that came.

        Runs are told to be equally far by what they have written, however long it took them; from there on time
        counts, of which two workers that start together take up to twice as much.
        """
        moment = rng.uniform(after, self.ended)
        lines = bisect(self.watched.times, moment)
        since = self.watched.times[lines - 1] if lines else self.began
        came = wait_until(run, lambda: watched.reach(lines))
        time.sleep((moment - since) * jobs)
        return came


def kill(run: Started, target: str, watched: Watched, rng: random.Random) -> str:
    """Kill with a signal that nobody can catch; what the run was doing, "" where nobody was there to be killed.

    What the worker was doing that is killed; where both are, attacking counts before training, and that before the
    rest.
    """
    if target == WORKER and not wait_until(run, lambda: run.running(runs.WORKER)):
        return ""
    workers = run.running(runs.WORKER)
    killed = [rng.choice(workers)] if target == WORKER and workers else workers
    watched.look()
    if run.process.poll() is not None:
        return ""
    if target == ALL:
        run.kill()
    elif target == DRIVER:
        run.process.kill()
    elif not killed or not _killed(killed[0]):
        return ""
    return _furthest(watched, [worker.pid for worker in killed])


def kill_engine(
    run: Started, aim: str, watched: Watched, rng: random.Random, usual: Usual, jobs: int
) -> tuple[str, str]:
    """Kill an engine at a random one of the moments in which it does what is aimed at.

    Returns:
        what the worker and the engine were doing; "" where no engine was there to be killed.
    """

    def seen(doing: str, times: int = 1) -> bool:
        watched.look()
        return watched.calls[doing] >= times

    if aim in (STARTING, LOADING):
        times = rng.randint(1, 2) if aim == LOADING else 1
        if not wait_until(run, lambda: seen(aim, times)):
            return "", ""
        time.sleep(rng.uniform(0, rng.choice(usual.watched.seconds[aim])))
    else:
        if not usual.wait(run, watched, rng, usual.watched.stood, jobs):
            return "", ""

        def found() -> bool:
            time.sleep(rng.uniform(0, 0.02))  # not always at the beginning of an answer or a pause
            watched.look()
            return any(doing == aim for _, doing in watched.engines.values())

        if not wait_until(run, found):
            return "", ""
    engines = {engine.pid: engine for engine in run.running(runs.ENGINE)}
    watched.look()
    there = {pid: told for pid, told in watched.engines.items() if pid in engines}
    if not there:
        return "", ""
    pid = rng.choice([pid for pid, (_, doing) in there.items() if doing == aim] or sorted(there))
    worker, doing = there[pid]
    return (_furthest(watched, [worker]), doing) if _killed(engines[pid]) else ("", "")


def _killed(process: psutil.Process) -> bool:
    try:
        process.kill()
    except psutil.Error:
        return False  # it had just ended
    return True


def _furthest(watched: Watched, workers: list[int]) -> str:
    return max((watched.workers.get(pid, OTHERWISE) for pid in workers), key=DOINGS.index, default=OTHERWISE)
