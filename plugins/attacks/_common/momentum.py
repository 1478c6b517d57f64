"""A running mean of one-hot gradients over the steps of a search (MAC, arXiv 2405.01229)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness import GradientAnswer, Tokens
from plugins.attacks._common.stored_array import decode_array

Mean = NDArray[np.float32]


def running_mean(previous: str | None, gradient: GradientAnswer, allowed: Tokens, momentum: float) -> Mean:
    """``momentum * mean + (1 - momentum) * gradient``, or the gradient where there is no mean yet; shape [S, A].

    The gradient of each position is scaled to Euclidean length 1 first, as in the authors' code, so that every step has
    the same weight.

    Args:
        previous: the mean before this step, as `encode_array` gives it.
        gradient: of all allowed tokens, ``gradient.tokens`` of shape [S, A].
        allowed: sorted ids [A].
    """
    full = np.zeros((len(gradient.tokens), len(allowed)), dtype=np.float32)
    np.put_along_axis(full, np.searchsorted(allowed, gradient.tokens), gradient.values.astype(np.float32), axis=1)
    length = np.linalg.norm(full, axis=1, keepdims=True)
    np.divide(full, length, out=full, where=length > 0)
    if previous is None:
        return full
    before = decode_array(previous, full.shape)
    mean: Mean = np.float32(momentum) * before + np.float32(1 - momentum) * full
    return mean


def lowest_mean_tokens(mean: Mean, loss: float, allowed: Tokens, top: int) -> GradientAnswer:
    """The ``top`` tokens with the lowest mean at each position, best first, ties by token id: shapes [S, top], as an
    answer to `Gradient` has them.
    """
    top = min(top, len(allowed))
    at = np.sort(np.argpartition(mean, top - 1, axis=1)[:, :top], axis=1)
    order = np.argsort(np.take_along_axis(mean, at, axis=1), axis=1, kind="stable")
    at = np.take_along_axis(at, order, axis=1)
    return GradientAnswer(loss, allowed[at], np.take_along_axis(mean, at, axis=1).astype(np.float64))
