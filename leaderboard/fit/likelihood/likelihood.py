"""The likelihood of intervals under a logistic law, with all derivatives, cluster by cluster.

An observation lies in (low, high] with probability A · (F(high) − F(low)), or beyond low with 1 − A · F(low), where
F(y) = σ(z) = 1 / (1 + exp(−z)), z = θ·y + design·γ + v; v is the cluster's own shift and A the asymptote. For this law
F(high) − F(low) is σ(z_high) · σ(−z_low) · (1 − exp(−θ·(high − low))), so that its logarithm is a sum of terms of one
end each and one of θ alone: a logistic regression on ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from leaderboard.fit.likelihood.rows import CountRows, Floats, Whole


@dataclass(frozen=True)
class Blocks:
    """The ends of all intervals of S clusters, padded with weight 0 to M ends each.

    Attributes:
        ends: [S, M, 1 + P], place and covariates of each end; the first covariate is 1.
        turned: [S, (1 + P) + (1 + P)², M], the same and the products of their pairs, ends last.
        sign: [S, M, 1], 1 for a high end, −1 for a low one.
        weight: [S, M].
        row: [S, M], to which row of ``rows`` an end belongs; −1 where padded.
        cut: ends from here on are those of right-censored rows.
        widths: [S, D], of intervals with two ends; their weights ``counts`` and rows ``both`` (−1 where padded).
        events: [S], weight of all rows that are not right-censored.
    """

    rows: CountRows
    ends: Floats
    turned: Floats
    sign: Floats
    weight: Floats
    row: Whole
    cut: int
    widths: Floats
    counts: Floats
    both: Whole
    events: Floats

    @property
    def clusters(self) -> int:
        """S."""
        return len(self.ends)

    @property
    def bounded(self) -> bool:
        """Whether any interval has two ends: then θ is above 0."""
        return bool(self.widths.size)


def blocks(rows: CountRows) -> Blocks:
    """``rows``, taken apart by cluster."""
    event, bounded = np.isfinite(rows.high), np.isfinite(rows.low)
    own = [np.flatnonzero(rows.cluster == cluster) for cluster in range(rows.clusters)]
    high, both, right = ([at[mask[at]] for at in own] for mask in (event, event & bounded, ~event & bounded))
    first = _padded([np.concatenate(pair) for pair in zip(high, both, strict=True)])
    last, pairs, highs = _padded(right), _padded(both), _padded(high)
    row = np.concatenate([first, last], axis=1)
    is_high = np.zeros(row.shape, dtype=bool)
    for cluster, at in enumerate(high):
        is_high[cluster, : len(at)] = True
    place = np.where(row < 0, 0.0, np.where(is_high, rows.high[row], rows.low[row]))
    ends = np.concatenate([place[..., None], rows.design[row]], axis=2)
    products = (ends[..., :, None] * ends[..., None, :]).reshape(*row.shape, -1)
    return Blocks(
        rows=rows,
        ends=ends,
        turned=np.ascontiguousarray(np.concatenate([ends, products], axis=2).transpose(0, 2, 1)),
        sign=np.where(is_high, 1.0, -1.0)[..., None],
        weight=np.where(row < 0, 0.0, rows.weight[row]),
        row=row,
        cut=first.shape[1],
        widths=np.where(pairs < 0, 1.0, rows.high[pairs] - np.where(bounded[pairs], rows.low[pairs], 0.0)),
        counts=np.where(pairs < 0, 0.0, rows.weight[pairs]),
        both=pairs,
        events=np.where(highs < 0, 0.0, rows.weight[highs]).sum(axis=1),
    )


def _padded(parts: list[Whole]) -> Whole:
    out = np.full((len(parts), max(len(part) for part in parts)), -1, dtype=np.int64)
    for at, part in enumerate(parts):
        out[at, : len(part)] = part
    return out


@dataclass(frozen=True)
class Terms:
    """Of each cluster at Q shifts: log-likelihood [S, Q], score [S, p, Q], Hessian [S, p, p, Q]; p = 1 + P, and one
    more with an asymptote, whose parameter is logit A. Of single observations: ``ends`` [S, M, Q], derivative in z
    at each end, and ``logits`` [S, M − cut, Q], derivative in logit A.
    """

    value: Floats
    score: Floats
    hessian: Floats
    ends: Floats
    logits: Floats


def terms(blocks: Blocks, beta: Floats, shifts: Floats, asymptote: float | None) -> Terms:
    """At coefficients ``beta`` [1 + P], θ first, and each cluster's ``shifts`` [S, Q]."""
    towards = blocks.sign * ((blocks.ends @ beta)[..., None] + shifts[:, None, :])
    miss = expit(-towards)
    value = np.minimum(towards, 0) - np.log1p(np.exp(-np.abs(towards)))  # log σ, without overflow
    slope, curve = blocks.sign * miss, miss * (miss - 1)
    clusters, count = shifts.shape
    size, cut = len(beta), blocks.cut
    logits = np.zeros((clusters, towards.shape[1] - cut, count))
    if asymptote is not None:
        f = miss[:, cut:]
        rest = 1 - asymptote * f
        dense = f * (1 - f)
        value[:, cut:] = np.log(rest)
        slope[:, cut:] = -asymptote * dense / rest
        curve[:, cut:] = slope[:, cut:] * (1 - 2 * f) - slope[:, cut:] ** 2
        logits = -asymptote * (1 - asymptote) * f / rest
    weight = blocks.weight[..., None]
    p = size + (asymptote is not None)
    total = (blocks.weight[:, None] @ value)[:, 0]
    score, hessian = np.zeros((clusters, p, count)), np.zeros((clusters, p, p, count))
    score[:, :size] = blocks.turned[:, :size] @ (weight * slope)
    hessian[:, :size, :size] = (blocks.turned[:, size:] @ (weight * curve)).reshape(clusters, size, size, count)
    if blocks.bounded:
        gap, gap_score, gap_bend = _gap(beta[0] * blocks.widths)
        total += (blocks.counts * gap).sum(axis=1, keepdims=True)
        score[:, 0] += (blocks.counts * blocks.widths * gap_score).sum(axis=1, keepdims=True)
        hessian[:, 0, 0] += (blocks.counts * blocks.widths**2 * gap_bend).sum(axis=1, keepdims=True)
    if asymptote is not None:
        keep, events, late = 1 - asymptote, blocks.events[:, None], weight[:, cut:]
        total += events * np.log(asymptote)
        score[:, size] = events * keep + (late * logits).sum(axis=1)
        bend = (late * (logits * (1 - 2 * asymptote) - logits**2)).sum(axis=1)
        hessian[:, size, size] = bend - events * asymptote * keep
        cross = blocks.turned[:, :size, cut:] @ (late * slope[:, cut:] * (keep - logits))
        hessian[:, size, :size] = hessian[:, :size, size] = cross
    return Terms(total, score, hessian, slope, logits)


def _gap(gap: Floats) -> tuple[Floats, Floats, Floats]:
    """log(1 − exp(−gap)) with its first two derivatives."""
    left, inside = np.exp(-gap), -np.expm1(-gap)
    return np.log(inside), left / inside, -left / inside**2


def row_scores(blocks: Blocks, beta: Floats, shifts: Floats, asymptote: float | None) -> Floats:
    """The score of one observation of each row, its cluster's shift [S] known: [R, p]."""
    at = terms(blocks, beta, shifts[:, None], asymptote)
    size, real = len(beta), blocks.row >= 0
    out = np.zeros((len(blocks.rows.low), size + (asymptote is not None)))
    np.add.at(out[:, :size], blocks.row[real], (at.ends * blocks.ends)[real])
    if blocks.bounded:
        pairs = blocks.both >= 0
        out[blocks.both[pairs], 0] += (blocks.widths * _gap(beta[0] * blocks.widths)[1])[pairs]
    if asymptote is not None:
        out[np.isfinite(blocks.rows.high), size] += 1 - asymptote
        late = blocks.row[:, blocks.cut :]
        out[late[late >= 0], size] += at.logits[late >= 0, 0]
    return out
