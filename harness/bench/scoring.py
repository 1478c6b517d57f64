"""Candidates per second of each path, in alternation with the machine's own rate of matrix products."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from harness.api.model.backend import ScoreItem
from harness.api.victim import Progress
from harness.bench.alternation import TimedCall, alternate, median_ratio, no_progress
from harness.bench.backends import BenchBackend, PathName
from harness.bench.eager_reference import compared_candidates, reference_losses
from harness.bench.matmul_peak import LargeMatmuls, layer_matmul_rate, synchronise
from harness.bench.model import BenchModel
from harness.bench.workload import WorkloadShape, score_items
from harness.engine.torch.self_check.tolerance import FIXED_TOLERANCES

MATMULS = "matrix products"
_SHARE_OF_FULL = 8  # a full forward of every row is so slow that it is timed on one in so many candidates


@dataclass(frozen=True, slots=True)
class ScoringTimings:
    """Timed rounds of scoring by one path.

    Attributes:
        requested, path: as in `BenchBackend`.
        candidates: scored per round, all examples together.
        seconds: of each round.
        executed: FLOPs of a round.
        of_peak: those per second over the rate of large matrix products in the same round; median.
        difference: largest difference of a loss, in nats, from the eager forward.
    """

    requested: PathName
    path: PathName
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
        paths: in the order in which they were asked for.
        peak: FLOP/s of large matrix products; median of the rounds.
        layer_rate: FLOP/s of products of the shapes of the model's layers.
        compared: candidates of each example that were compared with the eager forward.
        tolerance: largest difference that counts as rounding in this dtype.
    """

    paths: list[ScoringTimings]
    peak: float
    layer_rate: float
    compared: int
    tolerance: float

    @property
    def wrong(self) -> list[ScoringTimings]:
        """Paths that do not agree with the eager forward."""
        return [path for path in self.paths if not path.difference <= self.tolerance]


def measure_scoring(
    model: BenchModel,
    shape: WorkloadShape,
    backends: Sequence[BenchBackend],
    rounds: int,
    progress: Progress = no_progress,
) -> ScoringReport:
    """Time every path ``rounds`` times in alternation, each round with new strings, after one that does not count."""
    labels = model.head == "classification"
    first_items = score_items(shape, model.allowed, labels, 0)
    reference = reference_losses(model, first_items)
    matmuls = LargeMatmuls(model.device, model.dtype)
    executed: dict[str, float] = {}
    difference: dict[str, float] = {}

    def timed_call(backend: BenchBackend) -> TimedCall:
        def call(number: int) -> float:
            items = timed_items(backend.path, score_items(shape, model.allowed, labels, number))
            synchronise(model.device)
            began = time.perf_counter()
            answers = backend.backend.score(items)
            seconds = time.perf_counter() - began
            executed[backend.requested] = sum(answer.executed for answer in answers)
            if number == 0:
                difference[backend.requested] = max(
                    float(np.abs(answer.losses[: len(losses)] - losses[: len(answer.losses)]).max())
                    for answer, losses in zip(answers, reference, strict=True)
                )
            return seconds

        return call

    calls: dict[str, TimedCall] = {MATMULS: lambda _number: 1.0 / matmuls.rate()}
    calls |= {backend.requested: timed_call(backend) for backend in backends}
    seconds = alternate(calls, rounds, progress)
    timings = [
        ScoringTimings(
            backend.requested,
            backend.path,
            sum(len(item.candidates) for item in timed_items(backend.path, first_items)),
            seconds[backend.requested],
            executed[backend.requested],
            executed[backend.requested] * median_ratio(seconds[MATMULS], seconds[backend.requested]),
            difference[backend.requested],
        )
        for backend in backends
    ]
    return ScoringReport(
        timings,
        1.0 / median(seconds[MATMULS]),
        layer_matmul_rate(model.model),
        compared_candidates(first_items),
        FIXED_TOLERANCES[model.dtype],
    )


def timed_items(path: PathName, items: Sequence[ScoreItem]) -> list[ScoreItem]:
    """What a path is timed on: all items whole, but only some of the candidates of a full forward."""
    if path != "full":
        return list(items)
    return [replace(item, candidates=item.candidates[: -(-len(item.candidates) // _SHARE_OF_FULL)]) for item in items]
