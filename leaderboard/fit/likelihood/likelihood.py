"""The likelihood of interval-censored observations under a logistic law, with all derivatives, cluster by cluster.

An observation lies in (low, high] with probability A · (F(high) − F(low)), or beyond low with 1 − A · F(low), where
F(y) = σ(z) = 1 / (1 + exp(−z)), z = θ·y + design·γ + v; v is the cluster's own shift and A the asymptote. For this law
F(high) − F(low) is σ(z_high) · σ(−z_low) · (1 − exp(−θ·(high − low))), so that its logarithm is a sum of terms of one
end each and one of θ alone: a logistic regression on ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, xlogy

from leaderboard.arrays import Floats, Integers
from leaderboard.fit.likelihood.observations import Observations


@dataclass(frozen=True)
class ClusteredEnds:
    """The ends of all intervals of S clusters, padded with weight 0 to M ends each.

    Attributes:
        observations: what they are ends of.
        ends: [S, M, 1 + P], y and covariates of each end; the first covariate is 1.
        products: [S, (1 + P) + (1 + P)², M], the same and the products of their pairs, ends last.
        sign: [S, M, 1], 1 for a high end, −1 for a low one.
        weight: [S, M].
        row: [S, M], to which row of ``observations`` an end belongs; −1 where padded.
        first_censored: ends from here on are those of right-censored rows.
        widths: [S, D], of intervals with two ends; their weights ``width_weights`` and rows ``width_rows`` (−1 where
            padded).
        events: [S], weight of all rows that are not right-censored.
    """

    observations: Observations
    ends: Floats
    products: Floats
    sign: Floats
    weight: Floats
    row: Integers
    first_censored: int
    widths: Floats
    width_weights: Floats
    width_rows: Integers
    events: Floats

    @property
    def clusters(self) -> int:
        """S."""
        return len(self.ends)

    @property
    def has_two_ends(self) -> bool:
        """Whether any interval has two ends: then θ is above 0."""
        return bool(self.widths.size)


def clustered_ends(observations: Observations) -> ClusteredEnds:
    """``observations``, taken apart by cluster."""
    low, high, weight = observations.low, observations.high, observations.weight
    event, bounded = np.isfinite(high), np.isfinite(low)
    rows_of_cluster = [np.flatnonzero(observations.cluster == cluster) for cluster in range(observations.clusters)]
    with_high, with_both, censored = (
        [rows[mask[rows]] for rows in rows_of_cluster] for mask in (event, event & bounded, ~event & bounded)
    )
    event_ends = _padded([np.concatenate(pair) for pair in zip(with_high, with_both, strict=True)])
    censored_ends, width_rows, high_rows = _padded(censored), _padded(with_both), _padded(with_high)
    row = np.concatenate([event_ends, censored_ends], axis=1)
    is_high = np.zeros(row.shape, dtype=bool)
    for cluster, rows in enumerate(with_high):
        is_high[cluster, : len(rows)] = True
    y = np.where(row < 0, 0.0, np.where(is_high, high[row], low[row]))
    ends = np.concatenate([y[..., None], observations.design[row]], axis=2)
    pairs = (ends[..., :, None] * ends[..., None, :]).reshape(*row.shape, -1)
    padded_low = np.where(bounded[width_rows], low[width_rows], 0.0)
    return ClusteredEnds(
        observations=observations,
        ends=ends,
        products=np.ascontiguousarray(np.concatenate([ends, pairs], axis=2).transpose(0, 2, 1)),
        sign=np.where(is_high, 1.0, -1.0)[..., None],
        weight=np.where(row < 0, 0.0, weight[row]),
        row=row,
        first_censored=event_ends.shape[1],
        widths=np.where(width_rows < 0, 1.0, high[width_rows] - padded_low),
        width_weights=np.where(width_rows < 0, 0.0, weight[width_rows]),
        width_rows=width_rows,
        events=np.where(high_rows < 0, 0.0, weight[high_rows]).sum(axis=1),
    )


def _padded(rows_of_cluster: list[Integers]) -> Integers:
    padded = np.full((len(rows_of_cluster), max(len(rows) for rows in rows_of_cluster)), -1, dtype=np.int64)
    for cluster, rows in enumerate(rows_of_cluster):
        padded[cluster, : len(rows)] = rows
    return padded


@dataclass(frozen=True)
class LikelihoodTerms:
    """Of each cluster at Q shifts: log-likelihood [S, Q], score [S, p, Q], Hessian [S, p, p, Q]; p = 1 + P, and one
    more with an asymptote, whose parameter is logit A. Of single observations: ``end_scores`` [S, M, Q], derivative in
    z at each end, and ``logit_scores`` [S, M − first_censored, Q], derivative in logit A.
    """

    value: Floats
    score: Floats
    hessian: Floats
    end_scores: Floats
    logit_scores: Floats


def likelihood_terms(data: ClusteredEnds, beta: Floats, shifts: Floats, asymptote: float | None) -> LikelihoodTerms:
    """At coefficients ``beta`` [1 + P], θ first, and each cluster's ``shifts`` [S, Q]."""
    signed_z = data.sign * ((data.ends @ beta)[..., None] + shifts[:, None, :])
    tail = expit(-signed_z)
    # log σ without overflow; scipy's log_expit takes three times as long.
    value = np.minimum(signed_z, 0) - np.log1p(np.exp(-np.abs(signed_z)))
    first, second = data.sign * tail, tail * (tail - 1)  # derivatives in z
    clusters, count = shifts.shape
    size, censored = len(beta), slice(data.first_censored, None)
    logit_scores = np.zeros((clusters, signed_z.shape[1] - data.first_censored, count))
    if asymptote is not None:
        f = tail[:, censored]
        survival = 1 - asymptote * f
        density = f * (1 - f)
        value[:, censored] = np.log(survival)
        first[:, censored] = -asymptote * density / survival
        second[:, censored] = first[:, censored] * (1 - 2 * f) - first[:, censored] ** 2
        logit_scores = -asymptote * (1 - asymptote) * f / survival
    weight = data.weight[..., None]
    p = size + (asymptote is not None)
    total = (data.weight[:, None] @ value)[:, 0]
    score, hessian = np.zeros((clusters, p, count)), np.zeros((clusters, p, p, count))
    score[:, :size] = data.products[:, :size] @ (weight * first)
    hessian[:, :size, :size] = (data.products[:, size:] @ (weight * second)).reshape(clusters, size, size, count)
    if data.has_two_ends:
        log_width, width_first, width_second = _log_width(beta[0] * data.widths)
        total += (data.width_weights * log_width).sum(axis=1, keepdims=True)
        score[:, 0] += (data.width_weights * data.widths * width_first).sum(axis=1, keepdims=True)
        hessian[:, 0, 0] += (data.width_weights * data.widths**2 * width_second).sum(axis=1, keepdims=True)
    if asymptote is not None:
        never, events, censored_weight = 1 - asymptote, data.events[:, None], weight[:, censored]
        total += xlogy(events, asymptote)  # 0 where nothing was broken, however low the asymptote
        score[:, size] = events * never + (censored_weight * logit_scores).sum(axis=1)
        logit_second = (censored_weight * (logit_scores * (1 - 2 * asymptote) - logit_scores**2)).sum(axis=1)
        hessian[:, size, size] = logit_second - events * asymptote * never
        mixed = data.products[:, :size, censored] @ (censored_weight * first[:, censored] * (never - logit_scores))
        hessian[:, size, :size] = hessian[:, :size, size] = mixed
    return LikelihoodTerms(total, score, hessian, first, logit_scores)


def _log_width(width: Floats) -> tuple[Floats, Floats, Floats]:
    """log(1 − exp(−width)) with its first two derivatives."""
    decay, inside = np.exp(-width), -np.expm1(-width)
    return np.log(inside), decay / inside, -decay / inside**2


def row_scores(data: ClusteredEnds, beta: Floats, shifts: Floats, asymptote: float | None) -> Floats:
    """The score of one observation of each row, its cluster's shift [S] known: [R, p]."""
    terms = likelihood_terms(data, beta, shifts[:, None], asymptote)
    size, real = len(beta), data.row >= 0
    scores = np.zeros((len(data.observations.low), size + (asymptote is not None)))
    np.add.at(scores[:, :size], data.row[real], (terms.end_scores * data.ends)[real])
    if data.has_two_ends:
        real_widths = data.width_rows >= 0
        width_scores = data.widths * _log_width(beta[0] * data.widths)[1]
        scores[data.width_rows[real_widths], 0] += width_scores[real_widths]
    if asymptote is not None:
        scores[np.isfinite(data.observations.high), size] += 1 - asymptote
        censored_rows = data.row[:, data.first_censored :]
        scores[censored_rows[censored_rows >= 0], size] += terms.logit_scores[censored_rows >= 0, 0]
    return scores
