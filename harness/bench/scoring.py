"""Candidates per second of each path, in alternation with the machine's own rate of matrix products."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from harness.api.model.backend import ScoreItem
from harness.bench.alternation import Progress, alternate, ratio
from harness.bench.backends import BenchBackend
from harness.bench.eager_reference import compared, eager_losses
from harness.bench.matmul_peak import Gemm, own_rate, synchronise
from harness.bench.model import BenchModel
from harness.bench.workload import WorkloadShape, score_items
from harness.engine.torch.self_check.tolerance import TOLERANCE

GEMM = "matrix products"
_SHARE_OF_A = 8  # the full forward of every row is so slow that it is timed on one in so many candidates


@dataclass(frozen=True, slots=True)
class Measured:
    """One path.

    Attributes:
        asked, path: as in `BenchBackend`.
        candidates: scored per round, all examples together.
        seconds: of each round.
        executed: FLOPs of a round.
        of_peak: those per second over the rate of large matrix products in the same round; median.
        difference: largest difference of a loss, in nats, from the eager forward.
    """

    asked: str
    path: str
    candidates: int
    seconds: list[float]
    executed: float
    of_peak: float
    difference: float

    @property
    def rate(self) -> float:
        """Candidates per second; median of the rounds."""
        return self.candidates / median(self.seconds)


@dataclass(frozen=True)
class ScoringReport:
    """What a benchmark of scoring found.

    Attributes:
        peak: FLOP/s of large matrix products; median of the rounds.
        own: FLOP/s of products of the model's own shapes.
        compared: candidates of each example that were compared with the eager forward.
        tolerance: largest difference that counts as rounding in this dtype.
    """

    paths: list[Measured]
    peak: float
    own: float
    compared: int
    tolerance: float

    @property
    def wrong(self) -> list[Measured]:
        """Paths that do not agree with the eager forward."""
        return [path for path in self.paths if not path.difference <= self.tolerance]


def measure_scoring(
    subject: BenchModel,
    shape: WorkloadShape,
    found: Sequence[BenchBackend],
    rounds: int,
    progress: Progress = lambda _what, _done, _total: None,
) -> ScoringReport:
    """Time every path ``rounds`` times in alternation, each round with new strings, after one that does not count."""
    labels = subject.head == "classification"
    first = score_items(shape, subject.allowed, labels, 0)
    reference = eager_losses(subject, first)
    gemm = Gemm(subject.device, subject.dtype)
    executed: dict[str, float] = {}
    difference: dict[str, float] = {}

    def one(route: BenchBackend) -> Callable[[int], float]:
        def call(number: int) -> float:
            items = part(route, score_items(shape, subject.allowed, labels, number))
            synchronise(subject.device)
            began = time.perf_counter()
            answers = route.backend.score(items)
            seconds = time.perf_counter() - began
            executed[route.asked] = sum(answer.executed for answer in answers)
            if number == 0:
                difference[route.asked] = max(
                    float(np.abs(answer.losses[: len(own)] - own[: len(answer.losses)]).max())
                    for answer, own in zip(answers, reference, strict=True)
                )
            return seconds

        return call

    timed: dict[str, Callable[[int], float]] = {GEMM: lambda _number: 1.0 / gemm.rate()}
    timed |= {route.asked: one(route) for route in found}
    seconds = alternate(timed, rounds, progress)
    paths = [
        Measured(
            route.asked,
            route.path,
            sum(len(item.candidates) for item in part(route, first)),
            seconds[route.asked],
            executed[route.asked],
            executed[route.asked] * ratio(seconds[GEMM], seconds[route.asked]),
            difference[route.asked],
        )
        for route in found
    ]
    return ScoringReport(
        paths, 1.0 / median(seconds[GEMM]), own_rate(subject.model), compared(first), TOLERANCE[subject.dtype]
    )


def part(route: BenchBackend, items: Sequence[ScoreItem]) -> list[ScoreItem]:
    """What a path is timed on: all items whole, but only some of the candidates of a full forward."""
    if route.path != "A":
        return list(items)
    return [replace(item, candidates=item.candidates[: -(-len(item.candidates) // _SHARE_OF_A)]) for item in items]
