"""Finding 2: how the odds of success rise with attack compute, size by size."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.data.record_facts import reference_flops
from leaderboard.fit.attack_scaling import AttackScaling, fit_first_successes
from leaderboard.fit.likelihood.first_successes import first_successes_of_trajectories
from leaderboard.study.finding import UNTOLD, Finding, Row, by_majority, made_finding, slope_figure
from leaderboard.study.ladder import MIN_SEEDS, ONE_SEED, Ladder, Rung, is_undefended

LEAST, MOST = 1.0, 3.0  # decades of odds per decade of compute: the range that the study gives


def attack_compute(ladders: Sequence[Ladder]) -> Finding:
    """A row for each ladder of undefended victims; one size will do."""
    rows = [_row(ladder) for ladder in ladders if is_undefended(ladder)]
    return made_finding("attack_compute", rows, "an attack on an undefended victim")


def _row(ladder: Ladder) -> Row:
    fits = [_fit(rung) for rung in ladder.rungs]
    figures = tuple(slope_figure(rung.size, fit.line) for rung, fit in zip(ladder.rungs, fits, strict=True))
    ends = [fit.line.slope_ci for fit in fits if fit.line.slope_ci is not None]
    within = sum(low >= LEAST and high <= MOST for low, high in ends)
    beyond = sum(high < LEAST or low > MOST for low, high in ends)
    sizes = f"of {len(fits)} sizes" if len(fits) > 1 else "of 1 size"
    why = f"slope surely within {LEAST:g} to {MOST:g} in {within} {sizes}, surely beyond in {beyond}"
    if len(ends) < len(fits):
        why += f", not known in {len(fits) - len(ends)}"
    verdict = by_majority(within, beyond, len(fits))
    if ladder.seeds < MIN_SEEDS:
        verdict, why = UNTOLD, f"{why}; {ONE_SEED}"
    return Row(ladder.where, ladder.spec, figures, verdict, why, ladder.notes)


def _fit(rung: Rung) -> AttackScaling:
    (checkpoint,) = rung.rounds.values()
    with_reference = [(trajectories, reference_flops(record)) for trajectories, record in checkpoint.of_seeds]
    return fit_first_successes({}, first_successes_of_trajectories(with_reference))
