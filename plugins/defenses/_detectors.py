"""Two ways to tell attacked text by its activations: a linear probe, and the distance from clean text."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from harness import Floats

RIDGE = 1e-6  # of the clean variances' mean, added to each
TINY = 1e-12  # and this, for text whose activations are all the same


class Detector(Protocol):
    """Scores activations; higher is more like an attack."""

    def score(self, activations: Floats) -> float:
        """Of one text, shape [H]."""

    def slope(self, activations: Floats) -> Floats:
        """Gradient of the score, shape [H]."""

    def to_json(self) -> dict[str, Any]:
        """JSON data from which `detector_from_json` makes the same."""


@dataclass(frozen=True)
class Probe:
    """Logistic regression: the score is the log-odds of an attack."""

    weights: Floats
    bias: float

    @classmethod
    def fit(cls, clean: Floats, attacked: Floats, l2: float) -> Probe:
        """Maximum likelihood with both sorts weighing the same, and a penalty l2 · |w|² / 2 on standardised features.

        Args:
            clean, attacked: shapes [n, H], [m, H].
        """
        from scipy.optimize import minimize  # slow to import

        both = np.concatenate([clean, attacked])
        mean, scale = both.mean(0), both.std(0) + 1e-8
        features = (both - mean) / scale
        signs = np.repeat([-1.0, 1.0], [len(clean), len(attacked)])
        shares = np.repeat([0.5 / len(clean), 0.5 / len(attacked)], [len(clean), len(attacked)])

        def loss(point: Floats) -> tuple[float, Floats]:
            margins = signs * (features @ point[:-1] + point[-1])
            value = shares @ np.logaddexp(0.0, -margins) + 0.5 * l2 * point[:-1] @ point[:-1]
            pull = -shares * signs * np.exp(-np.logaddexp(0.0, margins))
            return float(value), np.append(features.T @ pull + l2 * point[:-1], pull.sum())

        found = minimize(loss, np.zeros(both.shape[1] + 1), jac=True, method="L-BFGS-B").x
        weights = found[:-1] / scale
        return cls(weights, float(found[-1] - weights @ mean))

    def score(self, activations: Floats) -> float:
        return float(self.weights @ activations + self.bias)

    def slope(self, activations: Floats) -> Floats:
        return self.weights

    def to_json(self) -> dict[str, Any]:
        return {"weights": _packed(self.weights), "bias": self.bias}


@dataclass(frozen=True)
class Mahalanobis:
    """Distance to the nearest class of clean text, in units of the classes' common spread.

    Attributes:
        whitener: shape [k, H]; rows are the main directions of spread within classes, divided by the spread there.
        means: of the classes behind it, shape [c, k].
    """

    whitener: Floats
    means: Floats

    @classmethod
    def fit(cls, clean: Floats, labels: Floats, components: int) -> Mahalanobis:
        """Tied covariance within classes, of its ``components`` largest directions (Lee et al. 2018).

        Args:
            clean: shape [n, H].
            labels: class of each, [n].
        """
        kinds = np.unique(labels)
        means = np.stack([clean[labels == kind].mean(0) for kind in kinds])
        within = clean - means[np.searchsorted(kinds, labels)]
        _, sizes, directions = np.linalg.svd(within, full_matrices=False)
        variances = sizes**2 / max(1, len(clean) - len(kinds))
        kept = min(components, int((variances > RIDGE * variances.max(initial=0.0)).sum())) or 1
        spread = np.sqrt(variances[:kept] + RIDGE * variances.mean() + TINY)
        whitener = directions[:kept] / spread[:, None]
        return cls(whitener, means @ whitener.T)

    def score(self, activations: Floats) -> float:
        return float(np.linalg.norm(self._away(activations)))

    def slope(self, activations: Floats) -> Floats:
        away = self._away(activations)
        return np.asarray(self.whitener.T @ (away / max(float(np.linalg.norm(away)), 1e-12)))

    def _away(self, activations: Floats) -> Floats:
        """From the nearest class, [k]."""
        all_away = self.whitener @ activations - self.means
        return np.asarray(all_away[int(np.argmin((all_away**2).sum(1)))])

    def to_json(self) -> dict[str, Any]:
        return {"whitener": _packed(self.whitener), "means": _packed(self.means)}


def detector_from_json(data: dict[str, Any]) -> Detector:
    """Inverse of `to_json`."""
    if "bias" in data:
        return Probe(_unpacked(data["weights"]), float(data["bias"]))
    return Mahalanobis(_unpacked(data["whitener"]), _unpacked(data["means"]))


def roc_auc(clean: Floats, attacked: Floats) -> float:
    """Area under the ROC curve: the chance that an attacked text scores higher than a clean one, ties counting half."""
    return float(np.mean((attacked[:, None] > clean[None]) + 0.5 * (attacked[:, None] == clean[None])))


def _packed(array: Floats) -> dict[str, Any]:
    """float32 as base64: 5.3 bytes for each entry."""
    data = np.asarray(array, dtype="<f4")
    return {"shape": list(data.shape), "float32": base64.b64encode(data.tobytes()).decode()}


def _unpacked(data: dict[str, Any]) -> Floats:
    return np.frombuffer(base64.b64decode(data["float32"]), dtype="<f4").reshape(data["shape"]).astype(np.float64)
