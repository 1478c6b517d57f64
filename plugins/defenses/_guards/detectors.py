"""Two detectors of attacked text by its activations: a linear probe, and the Mahalanobis distance from clean text."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from harness import Floats

RIDGE = 1e-6  # share of the clean variances' mean that is added to each
MIN_VARIANCE = 1e-12  # added as well, for text whose activations are all the same


class Detector(Protocol):
    """Scores activations; higher is more like an attack."""

    def score(self, activations: Floats) -> float:
        """Score of one text's activations, shape [H]."""

    def gradient(self, activations: Floats) -> Floats:
        """Gradient of the score by the activations, shape [H]."""

    def to_json(self) -> dict[str, Any]:
        """JSON data from which `detector_from_json` makes the same detector."""


@dataclass(frozen=True)
class Probe:
    """Logistic regression: the score is the log-odds of an attack (Alain and Bengio 2016, arXiv 1610.01644).

    Attributes:
        weights: shape [H].
        bias: of the log-odds.
    """

    weights: Floats
    bias: float

    @classmethod
    def fit(cls, clean: Floats, attacked: Floats, l2: float) -> Probe:
        """Maximum likelihood, both classes weighing the same, with a penalty l2 · |w|² / 2 on standardised features.

        Args:
            clean, attacked: activations of both sorts of texts, shapes [n, H] and [m, H].
            l2: weight of the penalty.
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
            residuals = -shares * signs * np.exp(-np.logaddexp(0.0, margins))
            return float(value), np.append(features.T @ residuals + l2 * point[:-1], residuals.sum())

        fitted = minimize(loss, np.zeros(both.shape[1] + 1), jac=True, method="L-BFGS-B").x
        weights = fitted[:-1] / scale
        return cls(weights, float(fitted[-1] - weights @ mean))

    def score(self, activations: Floats) -> float:
        return float(self.weights @ activations + self.bias)

    def gradient(self, activations: Floats) -> Floats:
        return self.weights

    def to_json(self) -> dict[str, Any]:
        return {"weights": _encoded(self.weights), "bias": self.bias}


@dataclass(frozen=True)
class Mahalanobis:
    """Mahalanobis distance to the nearest class of clean text, with one covariance for all classes.

    Attributes:
        whitener: shape [k, H]; rows are the main directions of spread within classes, divided by the spread there.
        means: of the classes, whitened, shape [c, k].
    """

    whitener: Floats
    means: Floats

    @classmethod
    def fit(cls, clean: Floats, labels: Floats, components: int) -> Mahalanobis:
        """Tied covariance within classes, of its ``components`` largest directions (Lee et al. 2018, arXiv 1807.03888).

        Args:
            clean: activations of clean texts, shape [n, H].
            labels: class of each, [n].
            components: directions kept, at most.
        """
        classes = np.unique(labels)
        means = np.stack([clean[labels == label].mean(0) for label in classes])
        within = clean - means[np.searchsorted(classes, labels)]
        _, sizes, directions = np.linalg.svd(within, full_matrices=False)
        variances = sizes**2 / max(1, len(clean) - len(classes))
        kept = min(components, int((variances > RIDGE * variances.max(initial=0.0)).sum())) or 1
        spread = np.sqrt(variances[:kept] + RIDGE * variances.mean() + MIN_VARIANCE)
        whitener = directions[:kept] / spread[:, None]
        return cls(whitener, means @ whitener.T)

    def score(self, activations: Floats) -> float:
        return float(np.linalg.norm(self._from_nearest_class(activations)))

    def gradient(self, activations: Floats) -> Floats:
        difference = self._from_nearest_class(activations)
        return np.asarray(self.whitener.T @ (difference / max(float(np.linalg.norm(difference)), 1e-12)))

    def _from_nearest_class(self, activations: Floats) -> Floats:
        """The whitened activations less the mean of the nearest class, [k]."""
        differences = self.whitener @ activations - self.means
        return np.asarray(differences[int(np.argmin((differences**2).sum(1)))])

    def to_json(self) -> dict[str, Any]:
        return {"whitener": _encoded(self.whitener), "means": _encoded(self.means)}


def detector_from_json(data: dict[str, Any]) -> Detector:
    """The detector that `Detector.to_json` wrote."""
    if "bias" in data:
        return Probe(_decoded(data["weights"]), float(data["bias"]))
    return Mahalanobis(_decoded(data["whitener"]), _decoded(data["means"]))


def roc_auc(clean: Floats, attacked: Floats) -> float:
    """Area under the ROC curve: the probability that an attacked text scores higher than a clean one, ties counting
    half.

    Args:
        clean, attacked: scores, shapes [n] and [m].
    """
    return float(np.mean((attacked[:, None] > clean[None]) + 0.5 * (attacked[:, None] == clean[None])))


def _encoded(array: Floats) -> dict[str, Any]:
    """An array as JSON data: base64 of float32, 5.3 bytes per entry."""
    data = np.asarray(array, dtype="<f4")
    return {"shape": list(data.shape), "float32": base64.b64encode(data.tobytes()).decode()}


def _decoded(data: dict[str, Any]) -> Floats:
    return np.frombuffer(base64.b64decode(data["float32"]), dtype="<f4").reshape(data["shape"]).astype(np.float64)
