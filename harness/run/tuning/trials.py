"""The search: one candidate after another until the next might take more than is left."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from harness.errors import RunError
from harness.hashing import canonical_json
from harness.number_format import format_flops
from harness.run.tuning.dimension import Dimension
from harness.run.tuning.sampler import propose
from harness.run.tuning.trial import CellOutcome, Score, Trial, score

PARTS = 2
"""The examples are tried in two halves; a candidate that is behind after the first is given up."""
LEAST_BEFORE_GIVING_UP = 5
"""Candidates that must have a score before one is given up."""
MOST_IDLE = 25
"""So many candidates in turn that cost nothing, being too dear or tried before, end the search."""


@dataclass(frozen=True)
class Quote:
    """What a candidate would take.

    Attributes:
        steps: that the budget per example allows; 0: not one.
        most: the most that each part of the examples takes, nominal FLOPs.
        why: it cannot be tried; "" where it can.
    """

    steps: int
    most: tuple[float, ...] = ()
    why: str = ""


class Bench(Protocol):
    """Where candidates are tried: the cells and their training examples."""

    def quote(self, values: Mapping[str, Any]) -> Quote:
        """What trying a candidate takes at most; asks no model."""

    def run(self, values: Mapping[str, Any], steps: int, part: int) -> Sequence[CellOutcome]:
        """Try a candidate on one part of the examples; what came of it in each cell."""


@dataclass(frozen=True)
class Ended:
    """How the search ended.

    Attributes:
        spent: nominal FLOPs of all of it.
        why: in words.
    """

    trials: list[Trial]
    spent: float
    why: str


def search(
    bench: Bench,
    space: Sequence[Dimension],
    first: Mapping[str, Any] | None,
    budget: float,
    spent: float,
    seed: int,
    before: Sequence[Trial] = (),
    keep: Callable[[Trial], object] = lambda _: None,
) -> Ended:
    """Try candidates.

    Args:
        first: the attack as the spec has it, which is tried first; None: that lies outside the space.
        budget: nominal FLOPs that all may take together.
        spent: of it, what was spent before the first candidate.
        before: what a search that was stopped has tried.
        keep: told each trial when it is finished, those of ``before`` left out.

    Raises:
        RunError: the budget does not allow two candidates.
    """
    trials = list(before)
    spent += sum(trial.flops for trial in trials)
    while True:
        if len(trials) >= MOST_IDLE and not any(trial.flops for trial in trials[-MOST_IDLE:]):
            why = f"the last {MOST_IDLE} candidates were tried before or are too expensive; the space has no others"
            break
        values = dict(first) if first is not None and not trials else propose(space, trials, seed)
        trial = _known(len(trials), values, trials)
        if trial is None:
            quote = bench.quote(values)
            if quote.why:
                trial = Trial(len(trials), values, "refused", why=quote.why)
            elif spent + sum(quote.most) > budget:
                why = f"the next candidate may need {format_flops(sum(quote.most))}, more than is left"
                _check_enough(trials, budget, spent, sum(quote.most))
                break
            else:
                trial = _try(bench, len(trials), values, quote, trials)
        spent += trial.flops
        trials.append(trial)
        keep(trial)
    if not any(trial.whole for trial in trials):
        raise RunError(f"no candidate could be tried: {trials[-1].why or 'none has a verdict'}")
    return Ended(trials, spent, why)


def _check_enough(trials: Sequence[Trial], budget: float, spent: float, most: float) -> None:
    """Raise RunError where the budget ends before there is anything to compare."""
    if sum(trial.flops > 0 for trial in trials) < 2:
        clean = spent - sum(trial.flops for trial in trials)
        needed = clean + 2 * max(most, *(trial.flops for trial in trials), 0.0)
        raise RunError(
            f"--flops: {format_flops(budget)} do not allow two candidates; give {format_flops(1.01 * needed)} or more, "
            "fewer --examples, or a smaller --per-example"
        )


def _known(number: int, values: Mapping[str, Any], trials: Sequence[Trial]) -> Trial | None:
    """The outcome of an equal trial: the same strings would be found again."""
    key = canonical_json(dict(values))
    for trial in trials:
        if canonical_json(dict(trial.values)) == key:
            first = trial.number if trial.same_as is None else trial.same_as
            return replace(trial, number=number, flops=0.0, same_as=first)
    return None


def _try(bench: Bench, number: int, values: Mapping[str, Any], quote: Quote, trials: Sequence[Trial]) -> Trial:
    half = list(bench.run(values, quote.steps, 0))
    at_half = score(half)
    if at_half is not None and _is_behind(at_half, trials):
        return _trial(number, values, "given up", quote, half, at_half, None)
    both = [one + other for one, other in zip(half, bench.run(values, quote.steps, 1), strict=True)]
    return _trial(number, values, "complete", quote, both, at_half, score(both))


def _trial(
    number: int,
    values: Mapping[str, Any],
    state: Any,
    quote: Quote,
    cells: Sequence[CellOutcome],
    half: Score | None,
    whole: Score | None,
) -> Trial:
    flops, attack = (sum(amounts) for amounts in zip(*((cell.flops, cell.attack_flops) for cell in cells), strict=True))
    per_example = attack / sum(cell.examples for cell in cells)
    return Trial(number, values, state, quote.steps, half, whole, flops, per_example)


def _is_behind(at_half: Score, trials: Sequence[Trial]) -> bool:
    """Whether a candidate is below the median of those before it, each after the same examples."""
    others = [trial.half.value for trial in trials if trial.half is not None and trial.same_as is None]
    return len(others) >= LEAST_BEFORE_GIVING_UP and at_half.value < statistics.median(others)
