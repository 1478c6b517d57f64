"""Projections of mixtures: the nearest one, and a sharper one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from plugins.attacks._common.relaxed.simplex import gini, project_to_entropy, project_to_simplex


def random_rows(seed: int, width: int, scale: float) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(3, width))


@given(seed=st.integers(0, 10**6), width=st.integers(1, 30), scale=st.sampled_from([0.01, 0.3, 5.0]))
def test_the_projection_is_a_mixture_and_none_is_nearer(seed: int, width: int, scale: float) -> None:
    rows = random_rows(seed, width, scale)
    found = project_to_simplex(rows)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-9)
    # The nearest point of a simplex is the one that sees no corner at less than a right angle.
    towards = (np.eye(width)[None] - found[:, None]) @ (rows - found)[:, :, None]
    assert towards.max() < 1e-9
    np.testing.assert_allclose(project_to_simplex(found), found, atol=1e-12)


@given(seed=st.integers(0, 10**6), width=st.integers(2, 30), strength=st.floats(0, 1))
def test_the_entropy_projection_sharpens_what_is_too_blunt(seed: int, width: int, strength: float) -> None:
    rows = np.random.default_rng(seed).dirichlet(np.ones(width), 4)
    found = project_to_entropy(rows, strength)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-9)
    assert (gini(found) <= gini(rows) + 1e-9).all()
    assert (found.argmax(axis=1) == rows.argmax(axis=1)).all()
    blunt = gini(rows) > (1 - strength) * (1 - 1 / width)
    np.testing.assert_array_equal(found[~blunt], rows[~blunt])
    assert (np.abs(found - rows).max(axis=1)[blunt] > 0).all()


def test_the_entropy_is_the_one_that_is_allowed() -> None:
    rows = np.asarray(
        [[0.3, 0.28, 0.22, 0.2, 0.0]]
    )  # nothing is cut off on the way: the sphere alone says where it ends
    found = project_to_entropy(rows, 0.2)
    assert gini(found)[0] == pytest.approx(0.8 * (1 - 1 / 4))  # of the four tokens that are there
    assert found[0, 4] == 0
    two = project_to_entropy(np.asarray([[0.6, 0.4]]), 1.0)
    np.testing.assert_allclose(two, [[1.0, 0.0]], atol=1e-9)
    middle = np.full((1, 4), 0.25)
    np.testing.assert_array_equal(project_to_entropy(middle, 1.0), middle)
