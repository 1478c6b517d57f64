"""Where the time of one whole iteration of an attack goes: gradient, sampling, filter, scoring, and the rest.

The attack runs as in a run, through `Search` and the defended victim; what it asks for is timed on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import yaml
from pydantic import ValidationError

from harness.api.attack import Attack
from harness.api.refs import FORM, PluginRef
from harness.bench.alternation import Progress, alternate, ratio
from harness.bench.backends import BenchBackend
from harness.bench.matmul_peak import Gemm
from harness.bench.model import BenchModel
from harness.bench.scoring import GEMM
from harness.bench.timers import Clock, timed_attack, timed_backend, timed_problem
from harness.bench.workload import WorkloadShape, problems
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.router import ModelRouter
from harness.engine.search.search import Search
from harness.errors import PluginError, RunError
from harness.registry.registry import Registry

PARTS = ("gradient", "sampling", "filter", "scoring", "other")


@dataclass
class Iterations:
    """Of one path.

    Attributes:
        asked, path: as in `BenchBackend`.
        seconds: of each iteration, all examples together.
        parts: the same by part.
        scored: candidates of each iteration, all examples together; the filter may leave fewer than asked.
        executed: FLOPs of each iteration.
        of_peak: those per second over the rate of large matrix products in the same round; median.
    """

    asked: str
    path: str
    seconds: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})
    scored: list[int] = field(default_factory=list)
    executed: list[float] = field(default_factory=list)
    of_peak: float = 0.0

    @property
    def typical(self) -> float:
        """Seconds of an iteration; median."""
        return median(self.seconds)


@dataclass(frozen=True)
class IterationReport:
    """What a benchmark of iterations found; ``peak`` as in `ScoringReport`."""

    paths: list[Iterations]
    peak: float


class Iterating:
    """An attack on a subject by one route, of which single iterations are timed."""

    def __init__(self, subject: BenchModel, shape: WorkloadShape, route: BenchBackend, attack: Attack) -> None:
        """Place the attack string in made-up prompts.

        Args:
            attack: takes two steps: the first computes what later ones remember, the second is timed.

        Raises:
            VictimError: no text of so many tokens was found.
        """
        self.clock, self.attack = Clock(), attack
        found, target = problems(shape, subject.tokenizer, subject.allowed, subject.head == "classification")
        self._problems = [timed_problem(problem, self.clock) for problem in found]
        self._victim = DefendedVictim(timed_backend(route.backend, self.clock, target))

    def turn(self, number: int) -> None:
        """Run one iteration that does not count and one that does, which is then in ``clock``."""
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
    asked = {"candidates": candidates} if "candidates" in known else {}
    plugin = registry.choose("attack", PluginRef(name=ref.name, params={**asked, **ref.params, "steps": 2})).plugin
    assert isinstance(plugin, Attack)
    return plugin


def measure_iterations(
    subject: BenchModel,
    shape: WorkloadShape,
    found: Sequence[BenchBackend],
    attack: Attack,
    rounds: int,
    progress: Progress = lambda _what, _done, _total: None,
) -> IterationReport:
    """Time an iteration by every path ``rounds`` times in alternation, after one that does not count.

    Raises:
        RunError: the attack asked for nothing to be scored.
    """
    reports = {route.asked: Iterations(route.asked, route.path) for route in found}
    gemm = Gemm(subject.device, subject.dtype)

    def one(route: BenchBackend) -> Callable[[int], float]:
        running, report = Iterating(subject, shape, route, attack), reports[route.asked]

        def call(number: int) -> float:
            running.turn(number)
            clock = running.clock
            if number:
                for part, seconds in clock.parts(PARTS).items():
                    report.parts[part].append(seconds)
                report.seconds.append(clock.total)
                report.scored.append(clock.scored)
                report.executed.append(clock.executed)
            return clock.total

        return call

    timed: dict[str, Callable[[int], float]] = {GEMM: lambda _number: 1.0 / gemm.rate()}
    seconds = alternate(timed | {route.asked: one(route) for route in found}, rounds, progress)
    for report in reports.values():
        if not sum(report.scored):
            raise RunError(f"attack {attack.name}: no candidate was scored, so there is nothing to measure")
        typical = float(np.median(report.executed))
        report.of_peak = typical * ratio(seconds[GEMM], seconds[report.asked])
    return IterationReport(list(reports.values()), 1.0 / median(seconds[GEMM]))
