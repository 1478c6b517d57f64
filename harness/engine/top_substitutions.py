"""The best substitutions by a one-hot gradient, and back from them to the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api.requests import GradientAnswer
from harness.tokens.tokenizer import Floats, Tokens

_STRIDE = 16  # one entry in so many tells where the best ones end


def best_substitutions(values: Floats, allowed: Tokens, top: int) -> tuple[Tokens, Floats]:
    """The ``top`` most negative entries of each row, ties by token id; NaN comes last.

    Args:
        values: gradient entries [S, A] of the allowed ids, in their order.
        allowed: sorted ids [A].
        top: how many; cut to A.

    Returns:
        ids [S, top] and their values [S, top].
    """
    top = min(top, len(allowed))
    tokens = np.empty((len(values), top), dtype=np.int64)
    chosen = np.empty((len(values), top), dtype=np.float64)
    if tokens.size == 0:
        return tokens, chosen
    keys = np.where(np.isnan(values), np.inf, values)
    # Sorting only what is at most the bound keeps ties at the edge and stays linear in A.
    near = keys <= _bounds(keys, top)
    for i, row in enumerate(keys):
        columns = np.flatnonzero(near[i])
        order = columns[np.argsort(row[columns], kind="stable")][:top]
        tokens[i], chosen[i] = allowed[order], values[i, order]
    return tokens, chosen


def full_gradient(answer: GradientAnswer, allowed: Tokens) -> Floats:
    """The gradient [S, A] in the order of the allowed ids [A], from an answer that tells all of it."""
    gradient = np.zeros((len(answer.tokens), len(allowed)))
    np.put_along_axis(gradient, np.searchsorted(allowed, answer.tokens), answer.values, axis=1)
    return gradient


def _bounds(keys: NDArray[np.floating[Any]], top: int) -> NDArray[np.floating[Any]]:
    """For each row [S, A] a number that at least ``top`` entries are not above, shape [S, 1]: the least where A is
    small, else one from a sample that leaves few more.
    """
    rank = 2 * top // _STRIDE + _STRIDE
    bounds = np.empty((len(keys), 1), dtype=keys.dtype)
    left = np.arange(len(keys))
    if 4 * rank < keys.shape[1] // _STRIDE:
        bounds[:, 0] = np.partition(keys[:, ::_STRIDE], rank, axis=1)[:, rank]
        left = np.flatnonzero((keys <= bounds).sum(axis=1) < top)
    bounds[left, 0] = np.partition(keys[left], top - 1, axis=1)[:, top - 1]
    return bounds
