"""ASR@j for more asks than there were answers, by a beta-binomial over prompts, and checked on answers held out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtri, ndtri

from leaderboard.arrays import Integers
from leaderboard.fit.repeated.prompt_chances import Likelihood, beta, beta_or_never, kinds_of, normal_log_odds

MIN_PROMPTS = 20
MIN_ANSWERS = 4  # to each prompt
MIN_BROKEN = 5  # prompts with a broken answer
MAX_FACTOR = 16  # asks, as a multiple of the answers that there are
LEVEL = 0.975  # above 95%: the best of several shapes is nearer the counts than the true one
MAX_WIDTH = 0.5  # of an interval of ASR
CHECKED_AT = float(ndtri(1 - 0.05 / 4))  # two directions, both sides, 5% together

Successes = Sequence[Sequence[bool]]
"""Of each prompt, whether each of its answers is broken, in the order in which they were drawn."""


@dataclass(frozen=True)
class HeldOut:
    """Fitted on one half of the answers: how many of the prompts that these left unbroken the other half would break.

    Attributes:
        predicted, observed: prompts, both directions together.
        apart: by how many standard errors the worse direction misses.
    """

    predicted: float
    observed: int
    apart: float

    @property
    def passed(self) -> bool:
        """Whether both directions are as chance would have them."""
        return self.apart <= CHECKED_AT


@dataclass(frozen=True)
class Extrapolated:
    """ASR@j for more asks than answers.

    Attributes:
        asks: j.
        value, low, high: with the 95% interval over prompts; None where refused.
        note: why it is refused, or "".
    """

    asks: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Extrapolation:
    """What is fitted to the answers of one cell.

    Attributes:
        shapes: the beta-binomial, then the others; none where the data do not carry it.
        prompts: how many were fitted.
        samples: most answers that a prompt has.
        held_out: None where nothing was fitted.
        note: why there is no fit, or why it is not to be used; "" where it is.
    """

    shapes: tuple[Likelihood, ...]
    prompts: int
    samples: int
    held_out: HeldOut | None
    note: str = ""

    def at(self, asks: int) -> Extrapolated:
        """ASR@j: the beta-binomial's, with all in the interval that any of the shapes says and the likelihood ratio
        does not rule out (a profile likelihood, with a quantile of F for so many prompts); refused where the data
        cannot carry it.
        """
        if self.note:
            return Extrapolated(asks, note=self.note)
        if asks > MAX_FACTOR * self.samples:
            most = MAX_FACTOR * self.samples
            return Extrapolated(
                asks, note=f"Not enough data: {self.samples} answers to a prompt carry {most} asks at most."
            )
        best = max(shape.logs.max() for shape in self.shapes)
        limit = best - fdtri(1, max(self.prompts - 2, 1), LEVEL) / 2
        inside = np.concatenate([1 - shape.none(asks)[shape.logs >= limit] for shape in self.shapes])
        value = 1 - float(self.shapes[0].none(asks)[self.shapes[0].logs.argmax()])
        low, high = min(float(inside.min()), value), max(float(inside.max()), value)
        if high - low > MAX_WIDTH:
            return Extrapolated(asks, note=f"Not enough data: anything between {low:.0%} and {high:.0%}.")
        return Extrapolated(asks, value, low, high)


def extrapolate(successes: Successes) -> Extrapolation:
    """Fit and check. Prompts of which too many answers are missing are left out."""
    told = [answers for answers in successes if len(answers) >= MIN_ANSWERS]
    broken, judged = _counts(told)
    samples, count = int(judged.max(initial=0)), int((broken > 0).sum())
    why = ""
    if len(told) < MIN_PROMPTS:
        why = f"{len(told)} prompts with {MIN_ANSWERS} answers or more, {MIN_PROMPTS} are needed."
    elif count < MIN_BROKEN:
        why = f"an answer broke {count} of {len(told)} prompts, {MIN_BROKEN} are needed."
    if why:
        return Extrapolation((), len(told), samples, None, f"Not enough data: {why}")
    held_out = check_held_out(told)
    if not held_out.passed:
        why = (
            f"Does not fit: of the prompts that half of the answers left unbroken, the other half should break "
            f"{held_out.predicted:.1f} and broke {held_out.observed}."
        )
    kinds = kinds_of(broken, judged)
    shapes = beta(kinds), beta_or_never(kinds), normal_log_odds(kinds)
    return Extrapolation(shapes, len(told), samples, held_out, why)


def check_held_out(successes: Successes) -> HeldOut:
    """Fit on half of the answers to each prompt, predict the other half, and the other way round."""
    # Every other one: what changes in the course of the answers is in both.
    halves = [[answers[start::2] for answers in successes] for start in (0, 1)]
    predicted, observed, apart = 0.0, 0, 0.0
    for fitted, other in (halves, halves[::-1]):
        broken, judged = _counts(fitted)
        later, more = _counts(other)
        fit = beta(kinds_of(broken, judged))
        expected, variance = _predicted(fit, judged[broken == 0], more[broken == 0])
        seen = int(((broken == 0) & (later > 0)).sum())
        miss = max(abs(seen - expected) - 0.5, 0.0)
        apart = max(apart, miss / math.sqrt(max(variance, 1e-9)))
        predicted, observed = predicted + expected, observed + seen
    return HeldOut(predicted, observed, apart)


def _counts(successes: Successes) -> tuple[Integers, Integers]:
    """Broken answers, and all, [E] each."""
    broken = np.array([sum(answers) for answers in successes], dtype=np.int64)
    return broken, np.array([len(answers) for answers in successes], dtype=np.int64)


def _predicted(fit: Likelihood, judged: Integers, more: Integers) -> tuple[float, float]:
    """How many prompts ``more`` answers break of those that so many left unbroken, [U] each; and the variance of that
    number: of chance, and of what the fit leaves open.
    """
    mean, chance = np.zeros(len(fit.logs)), np.zeros(len(fit.logs))
    for answers, asks, count in kinds_of(judged, more):
        breaks = 1 - fit.none(answers + asks) / fit.none(answers)
        mean += count * breaks
        chance += count * breaks * (1 - breaks)
    expected = float(fit.weights @ mean)
    return expected, float(fit.weights @ chance + fit.weights @ (mean - expected) ** 2)
