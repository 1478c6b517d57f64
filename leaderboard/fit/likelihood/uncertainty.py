"""How far an estimate may be from the truth, seeds and examples both being draws from more of their kind."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri, stdtrit

from leaderboard.fit.likelihood.likelihood import Blocks, row_scores
from leaderboard.fit.likelihood.maximum import Maximum
from leaderboard.fit.likelihood.rows import Floats

LEAST_CLUSTERS = 3  # fewer tell too little of the spread between them
Z = float(ndtri(0.975))
SLACK = 1.25  # seeds that tell a little more or less than others are as good as equal
LEAST_LEFT = 0.1  # share of the information that must be left without any one seed
FLOOR = 0.8  # standard errors of the examples alone; a spread between few seeds may come out small by chance


@dataclass(frozen=True)
class Uncertainty:
    """Covariances of p parameters.

    Attributes:
        clusters: how many seeds.
        between: [p, p], of seeds (with their examples) as draws; None with fewer than `LEAST_CLUSTERS`.
        within: [p, p], of examples as draws, the seeds held.
        shared: [p, p], what examples that several seeds have in common add.
        shares: [S, p, p], what each seed adds to the information, turned into covariances.
        floor: whether the examples alone are a lower bound.
        reach: standard errors of the examples to each side of an interval over them alone.
    """

    clusters: int
    between: Floats | None
    within: Floats
    shared: Floats
    shares: Floats
    floor: bool = True
    reach: float = Z

    def half(self, direction: Floats) -> Floats:
        """Half of the 95% interval of direction · parameters; ``direction``: [..., p]."""
        within, shared = _along(self.within, direction), np.maximum(_along(self.shared, direction), 0.0)
        if self.between is None:
            return self.reach * np.sqrt(within + shared)
        own = np.maximum(np.einsum("...i,sij,...j->...s", direction, self.shares, direction), 0.0)
        equal = own.sum(axis=-1) ** 2 / np.maximum((own**2).sum(axis=-1), 1e-300)  # seeds that tell as much each
        free = np.clip(SLACK * equal, 2.0, self.clusters) - 1
        square = stdtrit(free, 0.975) ** 2 * _along(self.between, direction)
        if self.floor:
            square = np.maximum(square, FLOOR**2 * within)
        half: Floats = np.sqrt(square + Z * Z * shared)
        return half

    def held(self) -> Uncertainty:
        """The same with the seeds held."""
        return replace(self, between=None)

    def scaled(self, reach: float) -> Uncertainty:
        """The same with another reach."""
        return replace(self, reach=reach)

    def turned(self, factors: Floats) -> Uncertainty:
        """Of the parameters times ``factors`` [p]."""
        scale = np.outer(factors, factors)
        between = None if self.between is None else self.between * scale
        shares = self.shares * scale
        return replace(self, between=between, within=self.within * scale, shared=self.shared * scale, shares=shares)

    def repeats(self) -> float:
        """How many times too large the likelihood takes the data for, as seeds share examples."""
        return 1 + max(0.0, float(self.shared[0, 0] / self.within[0, 0]))

    def error(self, direction: Floats) -> Floats:
        """Standard error with the seeds held."""
        return np.sqrt(_along(self.within, direction) + np.maximum(_along(self.shared, direction), 0.0))


def uncertainty_text(seeds: int, units: str = "examples") -> str:
    """What intervals over so many seeds are over."""
    if seeds >= LEAST_CLUSTERS:
        return f"seeds and {units} (cluster jackknife over {seeds} seeds)"
    return f"{units} alone ({seeds} seed{'' if seeds == 1 else 's'}: too few to tell the spread between seeds)"


def _along(matrix: Floats, direction: Floats) -> Floats:
    out: Floats = ((direction @ matrix) * direction).sum(axis=-1)
    return out


def uncertainty(found: Maximum, blocks: Blocks, floor: bool = True) -> Uncertainty:
    """The covariances at a maximum.

    Between seeds: each seed's pull on the estimate, weighed as if the seed were left out (the jackknife to first order,
    CR3 of Bell and McCaffrey 2002), used with t(S − 1), or fewer degrees of freedom where few of the seeds tell most
    (Kish's effective number). Within: the information of the examples, each seed's shift known as its data tell.
    Shared: products of the influences of the same example in different seeds (Cameron, Gelbach and Miller 2011).
    """
    p, clusters = len(found.free), blocks.clusters
    inverse = np.asarray(np.linalg.inv(found.information), dtype=np.float64)
    inner = -found.parts.inner
    keep = np.tile(np.eye(p), (clusters, 1, 1))
    if found.spread:
        keep[:, :, 1] -= inner[:, :, 1] / (inner[:, 1, 1] + found.spread**-2)[:, None]
    meat = (keep @ inner @ keep.transpose(0, 2, 1)).sum(axis=0)
    between = _left_out(found) if clusters >= LEAST_CLUSTERS else None
    shared = inverse @ _shared(found, blocks, keep) @ inverse
    shares = inverse @ -found.parts.hessian[:, :p, :p] @ inverse
    # A saturating curve may bend the wrong way at a known shift; then the whole information has to do.
    if np.linalg.eigvalsh(meat)[0] <= 0:
        meat = found.information
    return Uncertainty(clusters, between, inverse @ meat @ inverse, shared, shares, floor)


def _left_out(found: Maximum) -> Floats:
    p, clusters = len(found.free), len(found.parts.value)
    root = np.linalg.inv(np.linalg.cholesky(found.information))
    own = -(root @ found.parts.hessian[:, :p, :p] @ root.T)
    values, vectors = np.linalg.eigh(np.eye(p) - own)
    # What one seed alone tells cannot do without it: then not quite all of it is left out.
    values = np.maximum(values, LEAST_LEFT)
    along = (vectors.transpose(0, 2, 1) @ (root @ found.parts.score[:, :p, None]))[..., 0] / values
    moves = (vectors @ along[..., None])[..., 0] @ root
    out: Floats = moves.T @ moves * (clusters - 1) / clusters
    return out


def _shared(found: Maximum, blocks: Blocks, keep: Floats) -> Floats:
    p, rows = len(found.free), blocks.rows
    if blocks.clusters < 2 or not len(rows.unit):
        return np.zeros((p, p))
    own = row_scores(blocks, found.beta, found.parts.mean, found.asymptote)
    counts = np.bincount(rows.cluster)
    # A seed's examples on average are the seed's own affair.
    means = np.stack([np.bincount(rows.cluster, own[:, at]) for at in range(p)], axis=1) / counts[:, None]
    pulls = (keep[rows.cluster] @ (own - means[rows.cluster])[..., None])[..., 0]
    sums = np.stack([np.bincount(rows.unit, pulls[:, at]) for at in range(p)], axis=1)
    out: Floats = sums.T @ sums - pulls.T @ pulls
    return out
