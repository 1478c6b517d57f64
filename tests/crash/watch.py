"""Given to runs with ``--plugin``: what each process does, written down from inside in the file that WATCHED names.

A line each: ``worker PID STAGE``; ``engine PID PARENT CALL`` (``idle`` between calls); ``round SEARCH STEP`` when a
step of one example begins. SEARCH is drawn by each search of each example: a step done again is the same line again.
"""

import os
import time
from dataclasses import replace

from harness import hookimpl
from harness.engine.vllm.engine_process import EngineProcess
from harness.run.executors.remote_reporter import RemoteReporter
from plugins.attacks.gcg import GCG
from plugins.attacks.random_token import RandomToken


def write(*words):
    line = f"{time.monotonic():.6f} {' '.join(map(str, words))}\n".encode()
    file = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)


class Watched:
    """An attack that is what it was, and says when a step begins."""

    def start(self, problem, rng):
        state = super().start(problem, rng)
        return replace(state, memory=state.memory | {"search": f"{rng.integers(1 << 62):x}", "begun": 0})

    def step(self, state, problem, rng):
        own = {"search": state.memory["search"], "begun": state.memory["begun"] + 1}
        if problem.example.id != "rehearsal":  # a forecast asks what a step would ask
            write("round", *own.values())
        after = yield from super().step(state, problem, rng)
        return replace(after, memory=after.memory | own)


class WatchedRandomToken(Watched, RandomToken):
    """RandomToken, watched."""

    name = "watched_random_token"


class WatchedGCG(Watched, GCG):
    """GCG, watched."""

    name = "watched_gcg"


def watch(told, asked):
    """Wrap what a worker tells of itself, and what an engine's parent asks it."""

    def tell(teller, what, *values):
        if what in ("stage", "cell_done"):
            write("worker", os.getpid(), values[0].split()[0] if what == "stage" else what)
        told(teller, what, *values)

    def ask(process, what, *values):
        write("engine", process.pid, os.getpid(), what)
        try:
            return asked(process, what, *values)
        finally:
            write("engine", process.pid, os.getpid(), "idle")

    RemoteReporter._tell, EngineProcess._call = tell, ask


watch(RemoteReporter._tell, EngineProcess._call)


@hookimpl
def harness_register_attacks(register):
    register(WatchedRandomToken)
    register(WatchedGCG)
