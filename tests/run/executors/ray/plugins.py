"""An attack that takes its time and leaves a trace; given to runs with ``--plugin``."""

import os
import time
from pathlib import Path

from harness import Attack, Score, State, hookimpl, host_field


class Slow(Attack):
    """Tries one random string a step, and writes down where."""

    name = "slow"

    class Params(Attack.Params):
        pause: float = host_field(0.0, description="seconds of sleep in each step of each example")
        trace: str = host_field("/dev/null", description="file that gets a line for each step")
        hangs: str = host_field("/nowhere", description="file whose being there makes a step take for ever")

    def start(self, problem, rng):
        return problem.state(problem.random_tokens(rng))

    def step(self, state, problem, rng):
        if problem.example.id == "rehearsal":  # a plan wants to know what a step asks
            yield Score(state.array[None])
            return state
        while Path(self.params.hangs).exists():
            time.sleep(0.1)
        time.sleep(self.params.pause)
        tokens = problem.random_tokens(rng)
        losses = yield Score(tokens[None])
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        threads = os.environ.get("OMP_NUM_THREADS", "")
        with Path(self.params.trace).open("a") as trace:
            trace.write(f"{os.getpid()} {problem.example.id} gpus={gpus} threads={threads}\n")
        if state.loss is None or losses[0] < state.loss:
            return State(tuple(int(token) for token in tokens), float(losses[0]))
        return state


@hookimpl
def harness_register_attacks(register):
    register(Slow)
