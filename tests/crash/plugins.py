"""Attacks that do one bad thing each, in the second step of every example; given to runs with ``--plugin``."""

import ctypes
import datetime
import os
import random
import re
import sys
import time
from pathlib import Path

import numpy as np
from pydantic import Field

from harness import Attack, Score, State, hookimpl, host_field

KEPT = []  # what a leak keeps alive


class Bad(Attack):
    """Random strings, and something bad."""

    name = "bad"

    class Params(Attack.Params):
        what: str = host_field("nothing", description="which bad thing")
        where: str = host_field("step", description="start or step")
        mended: str = host_field("/nowhere", description="file whose being there keeps it from happening")
        draws: int = Field(4, description="strings a step")

    def start(self, problem, rng):
        if self.params.where == "start":
            self.do(problem)
        return problem.state(problem.random_tokens(rng))

    def step(self, state, problem, rng):
        steps = state.memory.get("steps", 0)
        if steps == 1 and self.params.where == "step":
            self.do(problem)
        tokens = problem.random_tokens(rng, self.params.draws)
        losses = yield Score(tokens)
        best = int(np.argmin(losses))
        return State(tuple(int(t) for t in tokens[best]), float(losses[best]), {"steps": steps + 1})

    def do(self, problem):
        if problem.example.id != "rehearsal" and not Path(self.params.mended).exists():
            BAD[self.params.what]()


def nothing():
    pass


def raises():
    raise ValueError("no luck")


def exits():
    sys.exit("bye")


def exits_hard():
    os._exit(9)


def crashes():
    ctypes.string_at(0)


def sleeps():
    time.sleep(3600)


def loops():
    while True:
        pass


def holds_the_lock():
    re.match(r"(a*)*b", "a" * 60)  # years, without giving other threads a turn


def loud():
    for _ in range(200):
        print("stdout " * 10_000)
        sys.stderr.write("stderr " * 10_000 + "\n")
        os.write(1, b"straight to the file\n" * 3000)


def meddles():
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(3)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("medium")
    os.chdir("/")
    sys.setrecursionlimit(150 + len(sys._current_frames()) * 200)


def leaks():
    for _ in range(300):
        KEPT.append(Path("/dev/null").open())  # noqa: SIM115 - that is what it does


def eats():
    raise MemoryError("not enough")


def devours():
    while True:
        KEPT.append(np.ones(1 << 22))


def reserves():
    while True:
        KEPT.append(np.empty(1 << 24))


def turns_the_clock():
    import harness.run.run_folder as layout

    jump = datetime.timedelta(days=random.choice([-1, 1]))

    class Jumped(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.now(tz) + jump

    real = time.time
    time.time = lambda: real() + jump.total_seconds()
    time.time_ns = lambda: int((real() + jump.total_seconds()) * 1e9)
    layout.datetime = Jumped


BAD = {
    do.__name__: do
    for do in (
        nothing,
        raises,
        exits,
        exits_hard,
        crashes,
        sleeps,
        loops,
        holds_the_lock,
        loud,
        meddles,
        leaks,
        eats,
        devours,
        reserves,
        turns_the_clock,
    )
}


@hookimpl
def harness_register_attacks(register):
    register(Bad)
