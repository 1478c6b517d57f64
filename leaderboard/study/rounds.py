"""Finding 3: how many rounds of adversarial training, and how much compute, bring the ASR to a tenth, size by size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from leaderboard.arrays import Floats
from leaderboard.data.record_facts import defense_flops
from leaderboard.fit.compute_to_target import SeedCurves, compute_to_target
from leaderboard.study.finding import DOES_NOT, HOLDS, UNTOLD, Finding, Row, Verdict, cost_figure, made_finding
from leaderboard.study.ladder import MIN_SEEDS, ONE_SEED, Ladder, Rung, is_undefended, repeated_size
from leaderboard.study.size_order import SizeOrder, size_order

HELD = 0.9  # of the examples, to be held under attack: an ASR of at most 10%
MIN_ROUNDS = 2
Amount = Literal["rounds", "FLOPs"]


def rounds(ladders: Sequence[Ladder]) -> Finding:
    """A row for each ladder of two sizes or more whose training was attacked in two rounds or more."""
    before = {_place(ladder): ladder for ladder in ladders if is_undefended(ladder)}
    rows = []
    for ladder in ladders:
        trained = [rung for rung in ladder.rungs if ladder.against[0] and len(rung.rounds) >= MIN_ROUNDS]
        if len(trained) > 1:
            rows.append(_row(ladder, trained, before.get(_place(ladder))))
    lacking = "two sizes whose adversarial training was attacked in two rounds or more"
    return made_finding("rounds", rows, lacking)


def _place(ladder: Ladder) -> tuple[object, ...]:
    return ladder.scope, ladder.family, ladder.attack


def _row(ladder: Ladder, trained: Sequence[Rung], before: Ladder | None) -> Row:
    if reason := repeated_size(ladder) or ("" if ladder.seeds >= MIN_SEEDS else ONE_SEED):
        return Row(ladder.where, ladder.spec, (), UNTOLD, reason, ladder.notes)
    undefended = {} if before is None else {rung.victim: rung for rung in before.rungs}
    curves: dict[Amount, list[SeedCurves]] = {"rounds": [], "FLOPs": []}
    sizes, notes = [], list(ladder.notes)
    for rung in trained:
        amounts = held_curves(rung, undefended.get(rung.victim))
        if amounts is None:
            notes.append(f"left out: {rung.victim}, compute of its defense unknown, or no two seeds of two rounds")
            continue
        sizes.append(rung.size)
        for amount in curves:
            curves[amount].append(amounts[amount])
    figures = tuple(
        cost_figure(size, amount, compute_to_target([curve], HELD), float(curve.compute[-1]))
        for amount, of_sizes in curves.items()
        for size, curve in zip(sizes, of_sizes, strict=True)
    )
    in_rounds, in_compute = (size_order(of_sizes, HELD) for of_sizes in curves.values())
    verdict, why = judge_costs(in_rounds, in_compute)
    return Row(ladder.where, ladder.spec, figures, verdict, why, tuple(notes))


def judge_costs(in_rounds: SizeOrder, in_compute: SizeOrder) -> tuple[Verdict, str]:
    """Holds where larger sizes surely need fewer rounds in some pair and more in none, and surely more compute in some
    and less in none; does not where either is the other way round.
    """
    why = (
        f"of {in_rounds.pairs} pairs the larger surely needs fewer rounds in {in_rounds.smaller_more} and more in "
        f"{in_rounds.larger_more}; more compute in {in_compute.larger_more} and less in {in_compute.smaller_more}"
    )
    fewer, more = in_rounds.smaller_more, in_rounds.larger_more
    dearer, cheaper = in_compute.larger_more, in_compute.smaller_more
    if fewer and not more and dearer and not cheaper:
        return HOLDS, why
    return (DOES_NOT if (more and not fewer) or (cheaper and not dearer) else UNTOLD), why


def held_curves(rung: Rung, undefended: Rung | None) -> dict[Amount, SeedCurves] | None:
    """The examples that hold under the whole attack, against rounds and against the compute of the defense, from the
    undefended victim on where it was attacked; None where two seeds or that compute are lacking.
    """
    points = dict(rung.rounds) if undefended is None else {**undefended.rounds, **rung.rounds}
    seeds = sorted(set.intersection(*(set(point.trajectories) for point in points.values())))
    if len(seeds) < MIN_SEEDS or len(points) < MIN_ROUNDS:
        return None
    numbers = sorted(points)
    held, attacked = (np.zeros((len(seeds), len(numbers))) for _ in range(2))
    for column, number in enumerate(numbers):
        for row, seed in enumerate(seeds):
            trajectories = points[number].trajectories[seed]
            held[row, column] = (~trajectories.so_far[:, -1]).sum()
            attacked[row, column] = len(trajectories.examples)
    trials: Floats = attacked.min(axis=1)  # rounds attack what they get right; the fewest tell how much is known
    spent = np.array(
        [np.mean([defense_flops(points[number].cells[seed].record) for seed in seeds]) for number in numbers]
    )
    if np.isnan(spent).any():
        return None
    successes = held / attacked * trials[:, None]
    amounts: dict[Amount, Floats] = {"rounds": np.array(numbers, dtype=np.float64), "FLOPs": spent}
    return {amount: SeedCurves(successes, trials, values) for amount, values in amounts.items()}
