"""The four forms as curves: known values, and laws that every curve of ASR keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.special import beta as beta_function, expit, logit

from leaderboard.fit.compared.forms.curves import FORMS, FormName, Scale, beta_of, log_unbroken

ONE = np.array(1.0)


def curve(name: FormName, level: float, shape: float, at: list[float], asks: float = 24.0, top: float = 1.0):
    return FORMS[name].asr(np.array(level), np.array(shape), np.array(top), np.array(at), asks)


def test_known_values() -> None:
    # Odds of 1 at the budget, slope 2: odds of 1 / 4 at half of it.
    assert curve("logistic", 0.0, 2.0, [0.5, 1.0]) == pytest.approx([0.2, 0.5])
    # 40% at the budget, levelling off at 80%: half of the way up at the budget, and again at a slope of 1.
    assert curve("logistic", logit(0.4), 1.0, [1.0, 3.0], top=0.8) == pytest.approx([0.4, 0.6])
    halves = 1 - 0.5 ** np.array([1.0, 2.0, 4.0])  # a budget of four half-lives
    saturating = curve("saturating", logit(0.6 * halves[2]), 4 * np.log(2), [0.25, 0.5, 1.0])
    assert saturating == pytest.approx(0.6 * halves)
    # −ln ASR = 2 · n^−0.5, and 16 asks are the budget.
    power = curve("power", logit(np.exp(-0.5)), 0.5, [1 / 16, 1 / 4, 1.0], asks=16)
    assert power == pytest.approx(np.exp([-2.0, -1.0, -0.5]))
    # Chances spread evenly between 0 and 1: n asks break n / (n + 1).
    assert curve("beta", logit(0.9), 1.0, [1 / 9, 3 / 9, 1.0], asks=9) == pytest.approx([0.5, 0.75, 0.9])


def test_parameters_are_those_of_the_formulas() -> None:
    def parameters(name: FormName, level: float, shape: float, scale: Scale) -> dict[str, float]:
        found = FORMS[name].parameters
        return {key: float(function(np.array(level), np.array(shape), scale)) for key, function in found.items()}

    saturating = parameters("saturating", logit(0.6 * (1 - np.exp(-2))), 2.0, Scale(1e-3, 10))
    assert saturating == pytest.approx({"A": 0.6, "tau": 5e-4})
    assert parameters("power", logit(np.exp(-0.5)), 0.5, Scale(1.0, 16)) == pytest.approx({"a": 2.0, "b": 0.5})
    assert parameters("beta", logit(0.9), 1.0, Scale(1.0, 9)) == pytest.approx({"alpha": 1.0, "beta": 1.0}, rel=1e-6)


def test_no_curve_passes_its_asymptote() -> None:
    assert np.isnan(curve("logistic", logit(0.9), 1.0, [0.5], top=0.8)).all()
    assert np.isnan(curve("saturating", logit(0.9), 0.5, [0.5])).all()  # would level off at 2.3


@settings(max_examples=60, deadline=None)
@given(st.floats(0.05, 50), st.floats(0.01, 1e3), st.floats(0.1, 1e4))
def test_chance_of_no_success_is_a_ratio_of_beta_functions(alpha: float, beta: float, asks: float) -> None:
    exact = beta_function(alpha, beta + asks) / beta_function(alpha, beta)
    found = float(np.exp(log_unbroken(np.array(alpha), np.array(beta), np.array(asks))))
    if beta_function(alpha, beta + asks) > 1e-250 and beta_function(alpha, beta) < np.inf:
        assert found == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 40.0])
def test_large_betas_go_on_where_small_ones_end(alpha: float) -> None:
    edge = 1e4 * (1 + alpha)
    below, above = log_unbroken(np.array(alpha), np.array([edge * (1 - 1e-9), edge * (1 + 1e-9)]), np.array(100.0))
    assert above == pytest.approx(below, rel=1e-6)


NAMES = st.sampled_from(["logistic", "saturating", "beta", "power"])


@settings(max_examples=80, deadline=None)
@given(NAMES, st.floats(-5, 5), st.floats(0.03, 14), st.floats(2, 1e4))
def test_asr_rises_within_0_and_1_and_is_the_level_at_the_budget(
    name: FormName, level: float, shape: float, asks: float
) -> None:
    at = np.geomspace(1e-3, 30, 40)
    asr = curve(name, level, shape, [*at, 1.0], asks)
    if np.isnan(asr).any():
        assert name == "saturating"
        assert expit(level) > -np.expm1(-shape)
        return
    assert ((asr >= 0) & (asr <= 1)).all()
    assert (np.diff(asr[:-1]) >= -1e-9).all()
    assert asr[-1] == pytest.approx(float(expit(level)), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.floats(-5, 5), st.floats(0.03, 200), st.floats(2, 1e5))
def test_beta_is_found_again(level: float, alpha: float, asks: float) -> None:
    found = beta_of(np.array(level), np.array(alpha), asks)
    broken = -np.expm1(log_unbroken(np.array(alpha), found, np.array(asks)))
    assert float(broken) == pytest.approx(float(expit(level)), abs=1e-6)
