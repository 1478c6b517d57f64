"""The best substitutions over a whole vocabulary, where the end of the best is found from a sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness.engine.top_substitutions import best_substitutions


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 5, 700, 5000]),
    st.integers(1, 40),
    st.sampled_from(["spread", "tied", "sorted", "lost"]),
    st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=150, deadline=None)
def test_they_are_what_a_full_sort_says(seed: int, width: int, top: int, kind: str, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3, width)).astype(dtype)
    if kind == "tied":
        values = rng.choice(np.asarray([-1.0, -0.0, 0.0, 2.0], dtype), size=(3, width))
    if kind == "sorted":  # the sample then says too little about the beginning
        values[0] = np.sort(values[0])
        values[1] = np.where(np.arange(width) % 16 == 0, -5, values[1])
    if kind == "lost":
        values = np.where(rng.random((3, width)) < 0.999, np.nan, values)
    allowed = np.sort(rng.choice(100_000, size=width, replace=False))
    tokens, chosen = best_substitutions(values, allowed, top)
    order = np.argsort(np.where(np.isnan(values), np.inf, values), axis=1, kind="stable")[:, :top]
    np.testing.assert_array_equal(tokens, allowed[order])
    np.testing.assert_array_equal(chosen, np.take_along_axis(values, order, 1))
    assert chosen.dtype == np.float64


@pytest.mark.parametrize(("rows", "width"), [(0, 5), (3, 0)])
def test_nothing_to_choose_from(rows: int, width: int) -> None:
    tokens, chosen = best_substitutions(np.zeros((rows, width)), np.arange(width), 4)
    assert tokens.shape == chosen.shape == (rows, min(4, width))
