"""How far an estimate may be from the truth, seeds and examples both being draws from more of their kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri, stdtrit

from leaderboard.arrays import Floats
from leaderboard.fit.likelihood.likelihood import ClusteredEnds, row_scores
from leaderboard.fit.likelihood.maximum import Maximum

MIN_CLUSTERS = 2  # one tells nothing of the spread between them
Z = float(ndtri(0.975))
SLACK = 1.25  # seeds that tell a little more or less than others are as good as equal
MIN_LEFT = 0.1  # share of the information that must be left without any one seed
FLOOR = 0.8  # standard errors of the examples alone; a spread between few seeds may come out small by chance


@dataclass(frozen=True)
class Uncertainty:
    """Covariances of p parameters.

    Attributes:
        clusters: how many seeds.
        between: [p, p], of seeds (with their examples) as draws; None with fewer than `MIN_CLUSTERS`.
        within: [p, p], of examples as draws, the seeds held.
        shared: [p, p], what examples that several seeds have in common add.
        shares: [S, p, p], what each seed adds to the information, turned into covariances.
        largest: [p, p], what ``between`` would be if seeds differed as much as any known ones do.
        floor: whether the examples alone are a lower bound.
        quantile: standard errors of the examples to each side of an interval over them alone.
    """

    clusters: int
    between: Floats | None
    within: Floats
    shared: Floats
    shares: Floats
    largest: Floats
    floor: bool = True
    quantile: float = Z

    def half_interval(self, direction: Floats) -> Floats:
        """Half of the 95% interval of direction · parameters; ``direction``: [..., p]."""
        within, shared = _variance(self.within, direction), np.maximum(_variance(self.shared, direction), 0.0)
        if self.between is None:
            return self.quantile * np.sqrt(within + shared)
        shares = np.maximum(np.einsum("...i,sij,...j->...s", direction, self.shares, direction), 0.0)
        effective = shares.sum(axis=-1) ** 2 / np.maximum((shares**2).sum(axis=-1), 1e-300)  # seeds that tell as much
        freedom = np.clip(SLACK * effective, 2.0, self.clusters) - 1
        between = _variance(self.between, direction)
        square = stdtrit(freedom, 0.975) ** 2 * between
        # Two or three seeds tell so little of their spread that t alone would give an interval of nearly everything.
        square = np.minimum(square, Z * Z * np.maximum(_variance(self.largest, direction), between))
        if self.floor:
            square = np.maximum(square, FLOOR**2 * within)
        half: Floats = np.sqrt(square + Z * Z * shared)
        return half

    def of_these_seeds(self) -> Uncertainty:
        """The same with the seeds held."""
        return replace(self, between=None)

    def with_quantile(self, quantile: float) -> Uncertainty:
        """The same with another quantile."""
        return replace(self, quantile=quantile)

    def rescaled(self, factors: Floats) -> Uncertainty:
        """Of the parameters times ``factors`` [p]."""
        scale = np.outer(factors, factors)
        between = None if self.between is None else self.between * scale
        within, shared, shares, largest = (
            covariance * scale for covariance in (self.within, self.shared, self.shares, self.largest)
        )
        return replace(self, between=between, within=within, shared=shared, shares=shares, largest=largest)

    def overcounting(self) -> float:
        """How many times too large the likelihood takes the data for, as seeds share examples."""
        return 1 + max(0.0, float(self.shared[0, 0] / self.within[0, 0]))

    def standard_error(self, direction: Floats) -> Floats:
        """Of direction · parameters, with the seeds held."""
        return np.sqrt(_variance(self.within, direction) + np.maximum(_variance(self.shared, direction), 0.0))


def uncertainty_text(seeds: int, units: str = "examples") -> str:
    """What intervals over so many seeds are over."""
    if seeds >= MIN_CLUSTERS:
        return f"seeds and {units} (cluster jackknife over {seeds} seeds)"
    return f"{units} alone (1 seed: they hold for this one model only)"


def _variance(covariance: Floats, direction: Floats) -> Floats:
    variance: Floats = ((direction @ covariance) * direction).sum(axis=-1)
    return variance


def uncertainty(
    maximum: Maximum, data: ClusteredEnds, largest_spread: Sequence[float], floor: bool = True
) -> Uncertainty:
    """The covariances at a maximum.

    Args:
        largest_spread: standard deviation between seeds of each of the first parameters, at most, as far as published
            curves tell; the others are taken not to differ.

        floor: whether the examples alone are a lower bound.

    Between seeds: each seed's pull on the estimate, weighed as if the seed were left out (the jackknife to first order,
    CR3 of Bell and McCaffrey 2002), used with t(S − 1), or fewer degrees of freedom where few of the seeds tell most
    (Kish's effective number). Within: the information of the examples, each seed's shift known as its data tell.
    Shared: products of the influences of the same example in different seeds (Cameron, Gelbach and Miller 2011).
    """
    p, clusters = len(maximum.parameters), data.clusters
    inverse = np.asarray(np.linalg.inv(maximum.information), dtype=np.float64)
    inner = -maximum.terms.inner_hessian
    projection = np.tile(np.eye(p), (clusters, 1, 1))
    if maximum.spread:
        projection[:, :, 1] -= inner[:, :, 1] / (inner[:, 1, 1] + maximum.spread**-2)[:, None]
    meat = (projection @ inner @ projection.transpose(0, 2, 1)).sum(axis=0)
    between = _jackknife(maximum) if clusters >= MIN_CLUSTERS else None
    shared = inverse @ _shared_examples(maximum, data, projection) @ inverse
    shares = inverse @ -maximum.terms.hessian[:, :p, :p] @ inverse
    # A saturating curve may bend the wrong way at a known shift; then the whole information has to do.
    if np.linalg.eigvalsh(meat)[0] <= 0:
        meat = maximum.information
    within = inverse @ meat @ inverse
    variance = np.zeros(p)
    variance[: len(largest_spread)] = np.square(largest_spread)
    largest = within + np.diag(variance) / clusters
    return Uncertainty(clusters, between, within, shared, shares, largest, floor)


def _jackknife(maximum: Maximum) -> Floats:
    p, clusters = len(maximum.parameters), len(maximum.terms.value)
    root = np.linalg.inv(np.linalg.cholesky(maximum.information))
    share = -(root @ maximum.terms.hessian[:, :p, :p] @ root.T)
    values, vectors = np.linalg.eigh(np.eye(p) - share)
    # What one seed alone tells cannot do without it: then not quite all of it is left out.
    values = np.maximum(values, MIN_LEFT)
    along = (vectors.transpose(0, 2, 1) @ (root @ maximum.terms.score[:, :p, None]))[..., 0] / values
    influence = (vectors @ along[..., None])[..., 0] @ root
    covariance: Floats = influence.T @ influence * (clusters - 1) / clusters
    return covariance


def _shared_examples(maximum: Maximum, data: ClusteredEnds, projection: Floats) -> Floats:
    p, observations = len(maximum.parameters), data.observations
    if data.clusters < 2 or not len(observations.example):
        return np.zeros((p, p))
    scores = row_scores(data, maximum.beta, maximum.terms.shift, maximum.asymptote)
    cluster, example = observations.cluster, observations.example
    # What a seed's examples have on average is the seed's, and no example's.
    means = np.stack([np.bincount(cluster, scores[:, k]) for k in range(p)], axis=1) / np.bincount(cluster)[:, None]
    influence = (projection[cluster] @ (scores - means[cluster])[..., None])[..., 0]
    sums = np.stack([np.bincount(example, influence[:, k]) for k in range(p)], axis=1)
    products: Floats = sums.T @ sums - influence.T @ influence
    return products
