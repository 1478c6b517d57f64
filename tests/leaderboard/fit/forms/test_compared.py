"""Forms side by side: which is chosen, what is recovered, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from leaderboard.data.count_table import CountTable
from leaderboard.data.trajectories import Trajectories
from leaderboard.fit.attack_scaling import fit_attack_scaling
from leaderboard.fit.compared.forms.compared import ComparedForms, FormChoice, compare_forms
from leaderboard.fit.compared.forms.curves import FORMS
from leaderboard.fit.compared.forms.held_out import held_out_log_likelihood
from leaderboard.fit.compared.forms.seed_rows import levels_of, log_chances, rows_by_seed
from leaderboard.fit.likelihood.first_successes import first_successes_of_counts, first_successes_of_trajectories
from tests.benchmarks.intervals.forms import FormStudy, simulate
from tests.leaderboard.fit.test_attack_scaling import counts

LARGE = {
    "logistic": FormStudy("logistic", 0.8, 2.0, 1, 4000, level=0.0, tilt=0.0),
    "saturating": FormStudy("saturating", 0.6, 4.0, 1, 8000, level=0.0, tilt=0.0),
    "beta": FormStudy("beta", 0.8, 0.5, 1, 20000, steps=40, level=0.0, tilt=0.0),
    "power": FormStudy("power", 0.7, 0.8, 1, 4000, level=0.0, tilt=0.0),
}


def compared(table: CountTable, form: FormChoice = "auto") -> ComparedForms:
    return compare_forms({}, first_successes_of_counts(table), form)


@pytest.mark.parametrize("name", LARGE)
def test_of_many_examples_the_true_form_is_chosen_and_its_parameters_are_found(name: str) -> None:
    study = LARGE[name]
    table, _, truth = simulate(study, np.random.default_rng(3))
    found = compared(table)
    best = found.forms[0]
    assert best.form.name == name
    for one in best.parameters:
        assert one.value == pytest.approx(truth[one.name], rel=0.12)
        assert one.low is not None
        assert one.high is not None
        assert one.low < one.value < one.high
        assert one.low <= truth[one.name] * 1.02
        assert one.high >= truth[one.name] * 0.98
        assert one.high - one.low < 0.5 * one.value


@pytest.mark.parametrize("name", ["logistic", "power"])
def test_of_many_examples_the_others_are_told_apart(name: str) -> None:
    table, *_ = simulate(LARGE[name], np.random.default_rng(3))
    found = compared(table)
    assert found.undecided == ()
    assert (
        found.verdict == f"{name}: the others predict held-out examples worse, by more than two standard errors each."
    )
    behind = [one.behind for one in found.forms]
    assert behind == sorted(behind)
    assert behind[0] == 0
    assert found.to_json()["decided"] is True


def test_of_few_examples_nothing_is_decided() -> None:
    table, *_ = simulate(FormStudy("beta", 0.7, 0.5, 1, 60), np.random.default_rng(0))
    found = compared(table)
    assert len(found.undecided) >= 2
    assert found.verdict.startswith("undecided: ")
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["decided"] is False


def test_a_logistic_that_levels_off_is_a_logistic() -> None:
    study = FormStudy("logistic", 0.57, 3.0, 1, 3000, level=0.0, tilt=0.0, asymptote=0.6)
    table, *_ = simulate(study, np.random.default_rng(1))
    best = compared(table).forms[0]
    assert best.form.name == "logistic"
    assert {one.name: one.value for one in best.parameters}["A"] == pytest.approx(0.6, abs=0.03)


def test_the_logistic_is_that_of_attack_scaling() -> None:
    table, *_ = simulate(FormStudy("logistic", 0.8, 2.0, 3, 100), np.random.default_rng(2))
    (line,) = (fit.line for fit in fit_attack_scaling(table))
    slope, intercept = compared(table, "logistic").forms[0].parameters[:2]
    assert (slope.value, slope.low, slope.high) == (line.slope, *line.slope_ci)
    assert (intercept.value, intercept.low, intercept.high) == (line.intercept, *line.intercept_ci)


@pytest.mark.parametrize("name", ["saturating", "beta", "power"])
def test_the_unit_of_compute_changes_no_likelihood(name: FormChoice) -> None:
    won = [[5, 12, 20, 26, 31, 35, 38], [3, 9, 14, 22, 24, 25, 30]]
    steps = [float(at) for at in range(1, 8)]
    small, large = (
        compared(counts(won, compute=[factor * at for at in steps])).to_json()["forms"] for factor in (1e-7, 3.0)
    )
    for one, other in zip(small, large, strict=True):
        assert one["form"] == other["form"]
        assert one["held_out"] == pytest.approx(other["held_out"], rel=1e-6)
    fitted = (
        {form["form"]: form["parameters"] for form in small}[name],
        {form["form"]: form["parameters"] for form in large}[name],
    )
    for key in fitted[0]:
        factor = 3.0 / 1e-7 if key == "tau" else 1.0
        assert fitted[0][key]["value"] * factor == pytest.approx(fitted[1][key]["value"], rel=1e-6)


def test_what_was_never_broken_counts_as_that() -> None:
    """Were the censored left out, every curve would end at an ASR of 1."""
    table = counts([[20, 34, 43, 49, 53, 56, 58, 59, 60, 60]], trials=200)
    top = compared(table, "saturating").forms[0].parameters[0]
    assert top.value == pytest.approx(0.3, abs=0.02)
    assert top.low > 0.22
    assert top.high < 0.4


def test_searches_that_ended_early_count_as_far_as_they_went() -> None:
    """Half of the examples were given up after a tenth of the budget; the curve is that of the others all the same."""
    rng = np.random.default_rng(8)
    spent = np.tile(np.arange(1.0, 31.0), (2000, 1))
    need = rng.exponential(12.0, 2000)
    won = (need[:, None] < spent) & (rng.random(2000) < 0.8)[:, None]
    short = np.arange(2000) % 2 == 0
    won[short] &= spent[short] <= 3
    spent[short] = np.minimum(spent[short], 3)
    won = np.logical_or.accumulate(won, axis=1)
    paths = Trajectories(tuple(f"{at:04d}" for at in range(2000)), won, spent, spent)
    found = compare_forms({}, first_successes_of_trajectories([(paths, 1e3)]), "saturating").forms[0]
    top, tau = found.parameters
    assert top.low < 0.8 < top.high
    assert tau.value == pytest.approx(0.012, rel=0.15)


def test_an_interval_over_seeds_holds_how_they_differ() -> None:
    alike = [[10, 19, 27, 34, 40, 45, 49]] * 3
    apart = [[3, 6, 9, 12, 14, 17, 19], [10, 19, 27, 34, 40, 45, 49], [30, 50, 63, 72, 79, 84, 88]]
    (near,), (far,) = (compared(counts(won), "power").forms for won in (alike, apart))
    width = [np.log(fit.parameters[0].high / fit.parameters[0].low) for fit in (near, far)]
    assert width[1] > 2 * width[0]
    assert compared(counts(alike)).interval.startswith("seeds and examples")
    assert compared(counts(alike[:1])).interval.startswith("examples alone (1 seed")


def test_seeds_that_share_examples_are_summed_example_by_example() -> None:
    rng = np.random.default_rng(4)
    names = tuple(f"{at:02d}" for at in range(60))
    hard = rng.random(60)
    spent = np.tile(np.arange(1.0, 11.0), (60, 1))
    paths = Trajectories(names, hard[:, None] < 1 - np.exp(-spent / 6), spent, spent)
    alone, twice = (first_successes_of_trajectories([(paths, 1e4)] * seeds) for seeds in (1, 2))
    for form in FORMS.values():
        once, both = (held_out_log_likelihood(form, *rows_by_seed(first)) for first in (alone, twice))
        assert both == pytest.approx(2 * once)
    # The same examples again tell no more of which form is better: the error grows as the difference does.
    ours, doubled = (compare_forms({}, first).forms for first in (alone, twice))
    assert [one.form.name for one in ours] == [one.form.name for one in doubled]
    assert [one.behind_se * 2 for one in ours] == pytest.approx([one.behind_se for one in doubled])


def test_curves_do_not_know_the_examples_that_they_predict() -> None:
    table, *_ = simulate(FormStudy("power", 0.7, 0.8, 1, 40), np.random.default_rng(5))
    seeds, scale = rows_by_seed(first_successes_of_counts(table))
    (rows,) = seeds
    for form in FORMS.values():
        levels = levels_of(rows)[:, None]
        logs, place = log_chances(form, levels, form.shapes, form.asymptotes, rows, scale.asks)
        known = float((logs[..., place].sum(axis=-1) - form.price).max())
        lost = known - float(held_out_log_likelihood(form, seeds, scale).sum())
        assert 0.5 < lost < 10  # some two parameters' worth (Akaike 1974), as much as was fitted to chance


@pytest.mark.parametrize(
    ("won", "note"),
    [
        ([[0, 0, 0]], "Not enough data: 0 of 100 attacked examples fell, 10 are needed."),
        ([[100, 100, 100]], "Not enough data: 100 of 100 attacked examples fell, 100 of them at the first step"),
        ([[5, 12, 10, 25, 40]] * 2, "Forms are fitted to first successes"),
    ],
)
def test_refusals_say_why(won: list[list[int]], note: str) -> None:
    found = compared(counts(won))
    assert found.forms == ()
    assert found.note.startswith(note)
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (told["chosen"], told["decided"], told["forms"]) == (None, False, [])


def test_prompts_that_are_all_alike_leave_the_beta_open() -> None:
    """With the same chance for each prompt only the mean of the beta is told, and no larger α is ruled out."""
    study = replace(LARGE["saturating"], asr=0.9, shape=2.31, examples=300)
    table, *_ = simulate(study, np.random.default_rng(6))
    alpha = compared(table, "beta").forms[0].parameters[0]
    assert alpha.high is None
    assert alpha.low is not None
    assert alpha.low > 1
