"""Defenses at the same amount: the interval of their difference holds the truth, and commands say the same."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import DataError
from leaderboard.commands.fits.print_at_amount import print_comparisons
from leaderboard.data.count_table import CountTable
from leaderboard.fit.compared.at_amount import compare_at, with_asr_at
from leaderboard.fit.defense_efficiency import fit_efficiency

ROUNDS, SEEDS, TRIALS = 8, 5, 48


def table(rng: np.random.Generator, second: float) -> CountTable:
    """Two defenses whose log10 odds fall with log10 compute; the second has ``second`` more; seeds differ."""
    rows: dict[str, list[object]] = {}
    for defense, more in (("a", 0.0), ("b", second)):
        for seed in range(SEEDS):
            of_seed = rng.normal(0, 0.15)
            for number in range(1, ROUNDS + 1):
                compute = 0.1 * number
                odds = 10 ** (-0.8 - np.log10(compute) + more + of_seed)
                successes = rng.binomial(TRIALS, odds / (1 + odds))
                row = {"task": "t", "family": "f", "attack": "g", "n_params": 1000, "victim": "v", "defense": defense}
                row |= {"seed": seed, "round": number, "defense_compute": compute, "iteration": 1}
                row |= {"trials": TRIALS, "successes": successes, "attack_compute": 1.0}
                for name, value in row.items():
                    rows.setdefault(name, []).append(value)
    text = ("task", "family", "attack", "victim", "defense")
    return CountTable("made up", {k: np.array(v, dtype=object if k in text else float) for k, v in rows.items()})


@pytest.mark.slow
@pytest.mark.parametrize("second", [0.0, 0.3])
def test_the_interval_of_a_pair_holds_the_truth(second: float) -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(60):
        (pair,) = compare_at(fit_efficiency(table(rng, second)), 0.4)
        held += pair.low <= -second * np.log(10) <= pair.high
    assert held >= 52  # of 60: fewer have a chance of 1% at a true level of 95%


def test_a_difference_is_seen_and_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    fits = fit_efficiency(table(np.random.default_rng(1), 1.0))
    (pair,) = compare_at(fits, 0.4)
    assert pair.told_apart
    assert (pair.first, pair.second) == ("a", "b")
    print_comparisons([pair])
    assert "a protects better" in capsys.readouterr().out
    rates = [with_asr_at(fit, 0.4) for fit in fits]
    odds = [row["asr_at"] / (1 - row["asr_at"]) for row in rates]
    assert np.log(odds[0] / odds[1]) == pytest.approx(pair.log_odds_ratio)
    assert all(row["asr_at_low"] < row["asr_at"] < row["asr_at_high"] for row in rates)
    assert "at" not in with_asr_at(fits[0], None)
    with pytest.raises(DataError, match="above 0"):
        with_asr_at(fits[0], 0.0)


def test_fits_of_different_victims_are_not_compared() -> None:
    one = table(np.random.default_rng(1), 0.0)
    victims = np.where(one["defense"] == "a", "v", "w").astype(object)
    assert compare_at(fit_efficiency(CountTable("made up", {**one.columns, "victim": victims})), 0.4) == []
