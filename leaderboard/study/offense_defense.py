"""Finding 4: compute to break against compute to defend, size by size."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.data.count_table_of_run import cells_count_table
from leaderboard.fit.offense_defense import OffenseDefense, fit_offense_defense
from leaderboard.study.finding import UNTOLD, Finding, Row, by_majority, made_finding, slope_figure
from leaderboard.study.ladder import MIN_SEEDS, ONE_SEED, Ladder, Rung
from leaderboard.table_numbers import target_percent

MIN_ROUNDS = 2


def offense_defense(ladders: Sequence[Ladder]) -> Finding:
    """A row for each ladder of victims whose training was attacked in two rounds or more; one size will do."""
    rows = []
    for ladder in ladders:
        trained = [rung for rung in ladder.rungs if ladder.against[0] and len(rung.rounds) >= MIN_ROUNDS]
        if trained:
            rows.append(_row(ladder, trained))
    return made_finding("offense_defense", rows, "adversarial training attacked in two rounds or more")


def _row(ladder: Ladder, trained: Sequence[Rung]) -> Row:
    fits = [_fit(rung, ladder.target) for rung in trained]
    sides = [fit.against_slope_1 for fit in fits]
    figures = tuple(
        slope_figure(rung.size, fit.line, f"{fit.censored} never broken." if fit.censored else "")
        for rung, fit in zip(trained, fits, strict=True)
    )
    below, above = sides.count("below"), sides.count("above")
    told = f"slope surely below 1 in {below} of {len(fits)}, surely above in {above}"
    why = f"to an ASR of {target_percent(ladder.target)}: {told}"
    verdict = by_majority(below, above, len(fits))
    if min(rung.seeds for rung in trained) < MIN_SEEDS:
        verdict, why = UNTOLD, f"{why}; {ONE_SEED}"
    return Row(ladder.where, ladder.spec, figures, verdict, why, ladder.notes)


def _fit(rung: Rung, target: float) -> OffenseDefense:
    cells = [
        (point.cells[seed], point.trajectories[seed])
        for _, point in sorted(rung.rounds.items())
        for seed in sorted(point.trajectories)
    ]
    table = cells_count_table("records", cells)
    assert table is not None, "a rung has attacked examples"
    # One label for all of a victim's rounds, so one fit.
    (fit,) = fit_offense_defense(table, target)
    return fit
