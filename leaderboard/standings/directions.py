"""ASR by direction: from an example's own label to the one that the attacker wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import gammaln

from leaderboard.arrays import Booleans, Floats, Integers
from leaderboard.data.trajectories import UNKNOWN_LABEL, Trajectories, TrajectoriesBySeed, common_examples
from leaderboard.fit.pooled_rates import Rate, pooled_rate, shared_example_variance
from leaderboard.standings.pooled_curve import with_examples

MIN_DIFFERENCE = 0.25  # between the ASR of two directions, for a warning
MAX_CHANCE = 0.01  # of so large a difference where both directions fall alike


@dataclass(frozen=True)
class DirectionRate:
    """ASR at full budget of the examples of one direction.

    Attributes:
        name: ``DENIED → GRANTED``; ``label 0 → 1`` where records do not name labels.
        label: the examples' own.
        target: the label that the attacker wants; None where records do not say.
        asr: seeds pooled.
    """

    name: str
    label: int
    target: int | None
    asr: Rate


def direction_rates(
    attacks: Mapping[str, TrajectoriesBySeed], strongest: str | None, labels: Sequence[str]
) -> tuple[DirectionRate, ...]:
    """By label and target, of the examples that `Standing.asr` is of: those that all attacks attacked, broken by any;
    without such examples those of the strongest attack. Empty where answers are texts, or nothing was attacked.

    Args:
        attacks: label to seed to trajectories, of one victim, defense and round.
        strongest: label of the attack with the highest ASR at full budget; None when nothing was attacked.
        labels: of the task, by index; none where records do not name them.
    """
    if strongest is None:
        return ()
    usable = [by_seed for by_seed in map(with_examples, attacks.values()) if by_seed]
    of_seeds = common_examples(usable) if len(usable) > 1 else []
    of_seeds = of_seeds or [[trajectories] for trajectories in with_examples(attacks[strongest]).values()]
    broken = [_broken(of_seed) for of_seed in of_seeds]
    directions = [_directions(of_seed[0]) for of_seed in of_seeds]
    found = []
    for label, target in sorted({tuple(pair) for of_seed in directions for pair in of_seed.tolist()}):
        if label == UNKNOWN_LABEL:
            return ()
        there = [(of_seed == (label, target)).all(axis=1) for of_seed in directions]
        asr = _rate_of_seeds([seed[0].examples for seed in of_seeds], broken, there)
        if asr is not None:
            wanted = None if target == UNKNOWN_LABEL else target
            found.append(DirectionRate(_name(label, wanted, labels), label, wanted, asr))
    return tuple(found)


def _rate_of_seeds(
    examples: Sequence[Sequence[str]], broken: Sequence[Booleans], there: Sequence[Booleans]
) -> Rate | None:
    """The rate over seeds pooled of the examples that are ``there``; seeds may have examples in common."""
    names = [np.array(each)[here].tolist() for each, here in zip(examples, there, strict=True) if here.any()]
    fell = [each[here, None] for each, here in zip(broken, there, strict=True) if here.any()]
    shared = shared_example_variance(names, fell) if names else 0.0
    return pooled_rate([int(each.sum()) for each in fell], [len(each) for each in fell], shared)


def one_direction_makes_the_rate(rates: Sequence[DirectionRate]) -> tuple[DirectionRate, DirectionRate] | None:
    """The directions that fall most and least, where they are so far apart that their common ASR says little of either:
    by `MIN_DIFFERENCE` or more, and by more than chance (Fisher's exact test of each pair, by Bonferroni over all).
    """
    pairs = list(combinations(sorted(rates, key=lambda rate: rate.asr.value), 2))
    apart = [
        (most, least)
        for least, most in pairs
        if most.asr.value - least.asr.value >= MIN_DIFFERENCE and _chance(most.asr, least.asr) * len(pairs) < MAX_CHANCE
    ]
    return max(apart, key=lambda pair: pair[0].asr.value - pair[1].asr.value, default=None)


def _chance(one: Rate, other: Rate) -> float:
    """Of tables as uneven as this one or more, with the same sums: Fisher's exact test, two-sided."""
    broken = one.successes + other.successes
    counts = np.arange(max(0, broken - other.trials), min(broken, one.trials) + 1)
    logs = _log_choose(one.trials, counts) + _log_choose(other.trials, broken - counts)
    chances = np.exp(logs - _log_choose(one.trials + other.trials, np.asarray(broken)))
    return float(chances[chances <= chances[counts == one.successes] * (1 + 1e-7)].sum())


def _log_choose(of: int, chosen: Integers) -> Floats:
    return np.asarray(gammaln(of + 1) - gammaln(chosen + 1) - gammaln(of - chosen + 1))


def _broken(of_seed: Sequence[Trajectories]) -> Booleans:
    """Whether any attack broke each example, [E]."""
    broken: Booleans = np.logical_or.reduce([trajectories.so_far[:, -1] for trajectories in of_seed])
    return broken


def _directions(trajectories: Trajectories) -> Integers:
    """Label and target of each example, [E, 2]."""
    unknown = np.full(len(trajectories.examples), UNKNOWN_LABEL)
    parts = (trajectories.labels, trajectories.targets)
    return np.stack([unknown if part is None else part for part in parts], axis=1)


def _name(label: int, target: int | None, labels: Sequence[str]) -> str:
    if label < len(labels) and (target is None or target < len(labels)):
        return labels[label] if target is None else f"{labels[label]} → {labels[target]}"
    return f"label {label}" if target is None else f"label {label} → {target}"
