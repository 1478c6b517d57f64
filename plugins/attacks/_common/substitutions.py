"""Strings that differ from another in some tokens: drawn by a gradient, or put together from the best of those."""

from __future__ import annotations

import numpy as np

from harness import Floats, GradientAnswer, Tokens


def substitutions(
    tokens: Tokens, gradient: GradientAnswer, rng: np.random.Generator, count: int, swaps: int = 1
) -> Tokens:
    """Strings that differ from ``tokens`` in exactly ``swaps`` positions (or in all that have a choice, if these are
    fewer), drawn uniformly, each new token uniform over the gradient's choice for its position.

    Returns:
        shape [count, S]; no rows when the gradient's only choice at every position is the token that is there.
    """
    current = gradient.tokens == tokens[:, None]  # [S, top], at most one per position
    width = gradient.tokens.shape[1]
    choices = width - current.sum(axis=1)
    positions = np.flatnonzero(choices)
    if len(positions) == 0:
        return np.empty((0, len(tokens)), dtype=np.int64)
    if swaps == 1:
        swapped = rng.choice(positions, size=(count, 1))
    else:
        swapped = positions[rng.random((count, len(positions))).argsort(axis=1)[:, :swaps]]
    columns = rng.integers(choices[swapped])
    current_column = np.where(choices < width, current.argmax(axis=1), width)
    columns += columns >= current_column[swapped]  # steps over the token that is there
    rows = np.tile(tokens, (count, 1))
    rows[np.arange(count)[:, None], swapped] = gradient.tokens[swapped, columns]
    return rows


def merged_substitutions(tokens: Tokens, candidates: Tokens, losses: Floats, best: int) -> Tokens:
    """The best candidates' substitutions put into one string, one candidate after the other, the lowest loss first: the
    multi-coordinate update of I-GCG (arXiv 2405.21018).

    Row i holds those of the ``i + 2`` best; where two candidates change one position, the later one's token stands.

    Args:
        tokens: the string that the candidates derive from, [S].
        candidates: [K, S].
        losses: of the candidates, [K]; one without a finite loss is not among the best.
        best: how many candidates are merged.

    Returns:
        shape [≤ best - 1, S], each string once; none that is the string itself or one of the candidates.
    """
    order = np.argsort(losses, kind="stable")[: int(np.isfinite(losses).sum())][:best]
    merged, rows = tokens.copy(), []
    known = {tuple(row) for row in np.concatenate([tokens[None], candidates]).tolist()}
    for candidate in candidates[order]:
        changed = candidate != tokens
        merged[changed] = candidate[changed]
        if tuple(merged.tolist()) not in known:
            known.add(tuple(merged.tolist()))
            rows.append(merged.copy())
    return np.asarray(rows, dtype=np.int64).reshape(len(rows), len(tokens))
