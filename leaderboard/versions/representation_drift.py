"""How far the representations of the same clean prompts moved from one version of a model to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.records.cell_manifest import CellRecord
from leaderboard.arrays import Floats

LEAST_PROMPTS = 5


@dataclass(frozen=True)
class LayerDrift:
    """Of one layer (0: the embeddings), mean over seeds: 1 − linear CKA; 0 where prompts lie to each other as before,
    about 1 where they lie as of two models that have nothing in common.
    """

    layer: int
    drift: float


def representation_drift(pairs: Sequence[tuple[CellRecord, CellRecord]]) -> tuple[LayerDrift, ...]:
    """From the Gram matrices among the diagnostics of cells, one pair of each seed; empty where a version has none, or
    they share fewer than `LEAST_PROMPTS` prompts. Of two depths the layers that both have recorded are compared.
    """
    by_layer: dict[int, list[float]] = {}
    for old, new in pairs:
        was, now = (recorded_grams(record) for record in (old, new))
        for layer in sorted(was.keys() & now.keys()):
            if (value := _drift(was[layer], now[layer])) is not None:
                by_layer.setdefault(layer, []).append(value)
    return tuple(LayerDrift(layer, float(np.mean(values))) for layer, values in sorted(by_layer.items()))


@dataclass(frozen=True)
class Gram:
    """Scalar products of the activations of some prompts at one layer.

    Attributes:
        examples: ids of the prompts.
        values: shape [E, E].
    """

    examples: Sequence[str]
    values: Floats


def recorded_grams(record: CellRecord) -> dict[int, Gram]:
    """By layer; what is not of the form that the harness writes is not there."""
    found = {} if record.defense_facts is None else record.defense_facts.diagnostics
    geometry = found.get("geometry")
    if not isinstance(geometry, Mapping):
        return {}
    examples, layers = geometry.get("examples"), geometry.get("layers")
    if not isinstance(examples, list) or not isinstance(layers, list):
        return {}
    grams = {}
    for one in layers:
        values = _matrix(one.get("gram"), len(examples)) if isinstance(one, Mapping) else None
        if values is not None and isinstance(one.get("layer"), int):
            grams[one["layer"]] = Gram(list(map(str, examples)), values)
    return grams


def _matrix(upper: Any, size: int) -> Floats | None:
    """A symmetric matrix from its upper triangle, row by row."""
    if not isinstance(upper, list) or len(upper) != size * (size + 1) // 2:
        return None
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in upper):
        return None
    found = np.zeros((size, size))
    found[np.triu_indices(size)] = upper
    return found + np.triu(found, 1).T


def _drift(old: Gram, new: Gram) -> float | None:
    common = [name for name in old.examples if name in set(new.examples)]
    if len(common) < LEAST_PROMPTS:
        return None
    grams = []
    for gram in (old, new):
        at = [gram.examples.index(name) for name in common]
        grams.append(gram.values[np.ix_(at, at)])
    similarity = linear_cka(grams[0], grams[1])
    return None if similarity is None else 1 - similarity


def linear_cka(one: Floats, other: Floats) -> float | None:
    """Linear CKA of two Gram matrices of the same prompts (Kornblith et al. 2019, arXiv 1905.00414), by the unbiased
    estimate of HSIC (Song et al. 2012): the plain one is near 1 for any two models where prompts are few and dimensions
    many. None where one of them tells no prompts apart.
    """
    across, first, second = (_unbiased_hsic(*each) for each in ((one, other), (one, one), (other, other)))
    scale = np.sqrt(max(first, 0.0)) * np.sqrt(max(second, 0.0))
    return float(across / scale) if scale > 0 else None


def _unbiased_hsic(one: Floats, other: Floats) -> float:
    size = len(one)
    k, m = (gram - np.diag(np.diag(gram)) for gram in (one, other))
    found = (k * m).sum() + k.sum() * m.sum() / ((size - 1) * (size - 2)) - 2 * k.sum(0) @ m.sum(0) / (size - 2)
    return float(found / (size * (size - 3)))
