"""The bound by which candidates are screened out: nothing is left out that was among the best."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness.engine.torch.scoring.screening.error_bound import PAIRS, first_to_score, lowest_of, screen
from harness.tokens.tokenizer import Floats


def screened(reduced: Floats, exact: Floats, best: int) -> tuple[np.ndarray, Floats]:
    """Score until the best are certain: which were scored, and the bounds of the others."""
    known = np.zeros(len(exact), dtype=bool)
    known[first_to_score(reduced, best)] = True
    while True:
        possible, bounds = screen(reduced, np.where(known, exact, np.nan), known, best)
        if not possible.any():
            return known, bounds
        assert not (possible & known).any()
        known[lowest_of(possible, reduced)] = True


losses = st.lists(st.floats(-50, 50), min_size=1, max_size=60).map(np.asarray)


@given(exact=losses, best=st.integers(1, 5), shift=st.floats(-5, 5))
def test_a_common_shift_leaves_out_nothing_that_is_among_the_best(exact: Floats, best: int, shift: float) -> None:
    best = min(best, len(exact))
    known, bounds = screened(exact + shift, exact, best)
    worst = np.sort(exact)[best - 1]
    assert known.sum() >= min(len(exact), best - 1 + PAIRS)
    assert (exact[~known] >= worst).all()
    assert (bounds[~known] > worst).all()


@pytest.mark.parametrize("best", [1, 4])
@pytest.mark.parametrize("spread", [0.5, 2.0, 12.0])
def test_random_errors_leave_out_none_of_the_best(best: int, spread: float) -> None:
    """Errors as of a real model, candidates as near as they come, in deviations of the error; 3,000 requests."""
    rng = np.random.default_rng(1)
    wrong, scored = 0, []
    for _ in range(3000):
        exact = rng.normal(0, spread, 64)
        known, _ = screened(exact + rng.normal(0.7, 1.0, 64), exact, best)
        wrong += not known[np.argsort(exact)[:best]].all()
        scored.append(known.mean())
    assert wrong <= 3, wrong
    assert np.mean(scored) < 0.3 or spread < 10


@settings(max_examples=50)
@given(exact=losses, data=st.data())
def test_what_tells_nothing_is_scored(exact: Floats, data: st.DataObject) -> None:
    silent = np.asarray(data.draw(st.lists(st.booleans(), min_size=len(exact), max_size=len(exact))))
    worth = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    known, _ = screened(np.where(silent, worth, exact), exact, 1)
    assert known[silent].all()
    assert known[exact.argmin()]


def test_a_loss_that_is_no_number_is_not_the_best() -> None:
    exact = np.concatenate([[np.nan, np.inf], np.linspace(0, 5, 30)])
    known, _ = screened(np.concatenate([[-1.0, -1.0], np.linspace(0, 5, 30)]), exact, 2)
    assert known[[2, 3]].all()
