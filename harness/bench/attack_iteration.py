"""Where the time of one whole iteration of an attack goes: gradient, sampling, filter, scoring, and the rest.

The attack runs as in a run, through `Search` and the defended victim; what it asks for is timed on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import yaml
from pydantic import ValidationError

from harness.api.attack import Attack
from harness.api.refs import FORM, PluginRef
from harness.api.victim import Progress
from harness.bench.alternation import TimedCall, alternate, median_ratio, no_progress
from harness.bench.backends import BenchBackend, PathName
from harness.bench.matmul_peak import LargeMatmuls
from harness.bench.model import BenchModel
from harness.bench.scoring import MATMULS
from harness.bench.timers import Clock, timed_attack, timed_backend, timed_problem
from harness.bench.workload import WorkloadShape, attack_problems
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.router import ModelRouter
from harness.engine.search.search import Search
from harness.errors import PluginError, RunError
from harness.registry.registry import Registry

PARTS = ("gradient", "sampling", "filter", "scoring", "other")


@dataclass
class IterationTimings:
    """Timed iterations by one path.

    Attributes:
        requested, path: as in `BenchBackend`.
        seconds: of each iteration, all examples together.
        parts: the same by part.
        scored: candidates of each iteration, all examples together; the filter may leave fewer than were wanted.
        executed: FLOPs of each iteration.
        of_peak: those per second over the rate of large matrix products in the same round; median.
    """

    requested: PathName
    path: PathName
    seconds: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})
    scored: list[int] = field(default_factory=list)
    executed: list[float] = field(default_factory=list)
    of_peak: float = 0.0

    @property
    def median_seconds(self) -> float:
        """Seconds of an iteration; median of the rounds."""
        return median(self.seconds)

    def add(self, clock: Clock) -> None:
        """Append the iteration that the clock has timed."""
        for part, seconds in clock.parts(PARTS).items():
            self.parts[part].append(seconds)
        self.seconds.append(clock.total)
        self.scored.append(clock.scored)
        self.executed.append(clock.executed)


@dataclass(frozen=True)
class IterationReport:
    """What a benchmark of iterations found.

    Attributes:
        paths: in the order in which they were asked for.
        peak: FLOP/s of large matrix products; median of the rounds.
    """

    paths: list[IterationTimings]
    peak: float


class AttackIteration:
    """An attack on a model by one path, of which single iterations are timed.

    Attributes:
        clock: holds the last iteration that was timed.
    """

    def __init__(self, model: BenchModel, shape: WorkloadShape, backend: BenchBackend, attack: Attack) -> None:
        """Place the attack string in made-up prompts.

        Args:
            attack: takes two steps: the first computes what later ones remember, the second is timed.

        Raises:
            VictimError: no text of so many tokens was found.
        """
        self.clock, self.attack = Clock(), attack
        problems, target = attack_problems(shape, model.tokenizer, model.allowed, model.head == "classification")
        self._problems = [timed_problem(problem, self.clock) for problem in problems]
        self._victim = DefendedVictim(timed_backend(backend.backend, self.clock, target))

    def run(self, number: int) -> None:
        """Run one iteration that does not count and one that does, with the random numbers of this round."""
        attack = timed_attack(self.attack, self.clock)
        search = Search(ModelRouter(self._victim), attack, ("bench", number), "gradient", together=len(self._problems))
        # Called between rounds: what is added up so far belonged to the first.
        search.run(self._problems, seen=lambda done, _rows: self.clock.restart() if done == 1 else self.clock.stop())


def choose_attack(registry: Registry, written: str, candidates: int) -> Attack:
    """An attack that takes two steps.

    Args:
        written: as in a spec: a name, or ``{name: {parameter: value}}``.
        candidates: where the attack has a parameter of that name and it is not written out.

    Raises:
        PluginError: no such attack, or it does not take these parameters.
    """
    try:
        ref = PluginRef.model_validate(yaml.safe_load(written))
    except (yaml.YAMLError, ValidationError) as error:
        raise PluginError(f"--attack {written}: {FORM}") from error
    known = registry.get("attack", ref.name).cls.Params.model_fields
    defaults = {"candidates": candidates} if "candidates" in known else {}
    plugin = registry.resolve("attack", PluginRef(name=ref.name, params={**defaults, **ref.params, "steps": 2})).plugin
    assert isinstance(plugin, Attack)
    return plugin


def measure_iterations(
    model: BenchModel,
    shape: WorkloadShape,
    backends: Sequence[BenchBackend],
    attack: Attack,
    rounds: int,
    progress: Progress = no_progress,
) -> IterationReport:
    """Time an iteration by every path ``rounds`` times in alternation, after one that does not count.

    Raises:
        RunError: the attack asked for nothing to be scored.
    """
    timings = [IterationTimings(backend.requested, backend.path) for backend in backends]
    matmuls = LargeMatmuls(model.device, model.dtype)

    def timed_call(backend: BenchBackend, timing: IterationTimings) -> TimedCall:
        iteration = AttackIteration(model, shape, backend, attack)

        def call(number: int) -> float:
            iteration.run(number)
            if number:
                timing.add(iteration.clock)
            return iteration.clock.total

        return call

    calls: dict[str, TimedCall] = {MATMULS: lambda _number: 1.0 / matmuls.rate()}
    calls |= {timing.requested: timed_call(backend, timing) for backend, timing in zip(backends, timings, strict=True)}
    seconds = alternate(calls, rounds, progress)
    for timing in timings:
        if not sum(timing.scored):
            raise RunError(f"attack {attack.name}: no candidate was scored, so there is nothing to measure")
        timing.of_peak = float(np.median(timing.executed)) * median_ratio(seconds[MATMULS], seconds[timing.requested])
    return IterationReport(timings, 1.0 / median(seconds[MATMULS]))
