"""Log-odds linear in a place y, fitted to rates of separate trials."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import expit, stdtrit

from leaderboard.fit.likelihood.likelihood import blocks
from leaderboard.fit.likelihood.log_odds import LogOdds, finish
from leaderboard.fit.likelihood.maximum import maximise
from leaderboard.fit.likelihood.rows import CountRows, Floats, Whole
from leaderboard.fit.likelihood.uncertainty import uncertainty


def fit_rates(y: Floats, won: Floats, tried: Floats, seed: Whole) -> LogOdds | None:
    """The fit to rates ``won`` / ``tried`` [N] at places ``y`` [N], of seeds numbered from 0: separate trials, whose
    rates may scatter more than chance has it; no saturation. None when no maximum was found.
    """
    centre, spacing = float(y.mean()), float(np.std(y))
    none = np.full(len(y), np.inf)
    low, high = np.concatenate([-none, (y - centre) / spacing]), np.concatenate([(y - centre) / spacing, none])
    cluster, ones = np.tile(seed, 2), np.ones((2 * len(y), 1))
    weight, scatter, free = np.concatenate([won, tried - won]), 1.0, 1
    kept = weight > 0
    places = np.column_stack([(y - centre) / spacing, np.ones(len(y))])
    while True:
        unit = np.empty(0, dtype=np.int64)
        rows = CountRows(low[kept], high[kept], weight[kept] / scatter, cluster[kept], ones[kept], unit)
        data = blocks(rows)
        found = maximise(data, np.zeros(2))
        if found is None:
            return None
        if scatter > 1:
            break
        free = max(1, len(y) - 2 - (data.clusters - 1 if found.spread else 0))
        p = expit(places @ found.beta + found.parts.mean[seed])
        scatter = float(((won - tried * p) ** 2 / (tried * p * (1 - p))).sum()) / free
        if scatter <= 1:
            break
    doubt = uncertainty(found, data, floor=False)
    if scatter > 1:
        doubt = doubt.scaled(float(stdtrit(free, 0.975)))
    turn = np.array([1 / spacing, 1.0])
    return finish(replace(found, free=found.free * turn), doubt.turned(turn), centre, 1.0, nested=False)
