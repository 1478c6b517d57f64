"""How well each form predicts examples that it was not fitted to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leaderboard.arrays import Floats, Integers
from leaderboard.fit.compared.forms.curves import Form, Scale
from leaderboard.fit.compared.forms.seed_rows import SeedRows, levels_of, log_chances

FOLDS = 10


def held_out_log_likelihood(form: Form, seeds: Sequence[SeedRows], scale: Scale) -> Floats:
    """Of each example, all seeds together, [E]: by curves that were fitted to the examples of the other nine tenths.

    Each seed has its own level and its own shape: no spread between seeds comes into the comparison of forms, and seeds
    that differ do not look like another form.
    """
    names = np.unique(np.concatenate([rows.example for rows in seeds]))
    # Always the same shares of the examples, of all forms; not in their order, which may mean something.
    fold_of = np.random.default_rng(0).permutation(len(names)) % min(FOLDS, len(names))
    total = np.zeros(len(names))
    for rows in seeds:
        index = np.searchsorted(names, rows.example)
        np.add.at(total, index, _of_seed(form, rows, fold_of[index], scale))
    return total


def _of_seed(form: Form, rows: SeedRows, fold: Integers, scale: Scale) -> Floats:
    levels = levels_of(rows)
    logs, place = log_chances(form, levels[:, None], form.shapes, form.asymptotes, rows, scale.asks)
    folds = int(fold.max()) + 1
    counts = np.zeros((logs.shape[-1], folds))
    np.add.at(counts, (place, fold), 1.0)
    by_fold = logs @ counts
    fitted = by_fold.sum(axis=-1, keepdims=True) - by_fold - form.price[:, None]
    best = fitted.reshape(-1, folds).argmax(axis=0)
    flat = logs.reshape(-1, logs.shape[-1])
    return np.asarray(flat[best[fold], place])
