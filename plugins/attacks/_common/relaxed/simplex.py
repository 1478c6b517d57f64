"""Mixtures of tokens, rows on the probability simplex: ways onto it, towards its corners, and to tokens."""

from __future__ import annotations

import numpy as np

from harness import Floats, Problem, Tokens

_ABSENT = 1e-6  # a weight at most so large is rounding, in float32, of one that is 0


def project_to_simplex(rows: Floats) -> Floats:
    """The nearest row (Euclidean) of weights that are not negative and have the sum 1, for each row; [S, A].

    By sorting: Duchi et al. 2008, algorithm 1 (algorithm 2 of arXiv 2402.09154).
    """
    falling = -np.sort(-rows, axis=1)
    beyond = falling.cumsum(axis=1) - 1.0
    kept = (falling - beyond / np.arange(1, rows.shape[1] + 1) > 0).sum(axis=1)
    threshold = beyond[np.arange(len(rows)), kept - 1] / kept
    found: Floats = np.maximum(rows - threshold[:, None], 0.0)
    return found


def project_to_sparse(rows: Floats, entries: float, rng: np.random.Generator) -> Floats:
    """Rows [S, A] of which only the heaviest entries are left, cut at 0 and divided by their sum (arXiv 2405.09113).

    Args:
        entries: how many are left of each row, at least 1 and at most A; between two whole numbers, so many on average:
            the larger one of as many rows as come nearest to that, drawn at random.
    """
    least = min(max(int(entries), 1), rows.shape[1])
    more = round((min(max(entries, 1.0), rows.shape[1]) - least) * len(rows))
    counts = np.full(len(rows), least)
    counts[rng.permutation(len(rows))[:more]] += 1
    order = np.argsort(-rows, axis=1, kind="stable")
    kept = np.empty(rows.shape, dtype=bool)
    np.put_along_axis(kept, order, np.arange(rows.shape[1])[None] < counts[:, None], axis=1)
    found = np.where(kept, np.maximum(rows, 0.0) + _ABSENT, 0.0)  # a row without anything above 0 becomes even
    found /= found.sum(axis=1, keepdims=True)
    return found


def gini(rows: Floats) -> Floats:
    """Tsallis entropy with q = 2 of each row of weights, 1 - Σ w²; 0 for a single token. Shape [S]."""
    found: Floats = 1.0 - np.square(rows).sum(axis=1)
    return found


def project_to_entropy(rows: Floats, strength: float) -> Floats:
    """Rows on the simplex [S, A], those of too high an entropy moved away from the middle of their tokens and put back
    onto the simplex (algorithm 3 of arXiv 2402.09154).

    Args:
        strength: 0 allows any entropy (`gini`), 1 none; between them, so much less than the highest that the row's
            tokens can have, those of no weight left out.
    """
    present = rows > _ABSENT
    count = present.sum(axis=1, keepdims=True)
    allowed = (1.0 - strength) * (1.0 - 1.0 / count)
    radius = np.sqrt(np.maximum(1.0 - allowed - 1.0 / count, 0.0))
    away = np.where(present, rows - 1.0 / count, 0.0)
    length = np.linalg.norm(away, axis=1, keepdims=True)
    short = ((length < radius) & (length > 0))[:, 0]  # from the very middle no way is the nearest
    found = rows.copy()
    if short.any():
        moved = away[short] * radius[short] / length[short] + np.where(present, 1.0 / count, 0.0)[short]
        found[short] = project_to_simplex(moved)
    return found


def discretised(weights: Floats, problem: Problem, rng: np.random.Generator) -> Tokens:
    """The string of the heaviest token at each position, if it survives tokenisation; else one that does, drawn by the
    weights [S, A]. Shape [1, S]; [0, S] where none is found.
    """
    heaviest = problem.allowed[weights.argmax(axis=1)][None]
    if problem.survives(heaviest)[0]:
        return heaviest
    upto = weights.cumsum(axis=1)
    upto /= upto[:, -1:]

    def draw(n: int) -> Tokens:
        columns = [np.searchsorted(row, rng.random(n), side="right") for row in upto]
        return problem.allowed[np.stack(columns, axis=1)]

    return problem.refill(1, draw)
