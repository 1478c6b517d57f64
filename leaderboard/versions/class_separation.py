"""How far apart the classes of a task lie in a victim's representations, by the recorded geometry of clean prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.errors import DataError
from harness.records.read import Cell, Run
from leaderboard.arrays import Floats
from leaderboard.data.record_facts import defense_round
from leaderboard.versions.representation_drift import recorded_grams


@dataclass(frozen=True)
class ClassSeparation:
    """Of one layer (0: the embeddings) of a victim.

    Attributes:
        silhouettes: mean silhouette of each seed, in order of seeds.
        prompts: how many prompts each is of.
    """

    task: str
    victim: str
    defense: str
    round: int
    layer: int
    prompts: int
    seeds: tuple[int, ...]
    silhouettes: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(np.mean(self.silhouettes))

    def to_json(self) -> dict[str, Any]:
        """All of it, and the mean."""
        return asdict(self) | {"mean": self.mean}


def class_separation(run: Run) -> list[ClassSeparation]:
    """Of each victim, defense and layer of a run.

    Raises:
        DataError: no cell has geometry and labels of at least two classes.
    """
    found: dict[tuple[str, str, str, int, int], dict[int, tuple[float, int]]] = {}
    for cell in run.cells:
        record = cell.record
        model = record.task.label, record.victim.label, record.defense.label, defense_round(record)
        for layer, (value, prompts) in _silhouettes(cell).items():
            found.setdefault((*model, layer), {})[record.seed] = value, prompts
    if not found:
        raise DataError(
            f"{run.path}: no cell has the geometry of clean prompts of two classes or more; run a task with labels, "
            "with diagnostics: full, on a victim whose activations can be read"
        )
    rows = []
    for (task, victim, defense, number, layer), by_seed in sorted(found.items()):
        seeds = tuple(sorted(by_seed))
        values = tuple(by_seed[seed][0] for seed in seeds)
        prompts = max(count for _, count in by_seed.values())
        rows.append(ClassSeparation(task, victim, defense, number, layer, prompts, seeds, values))
    return rows


def _silhouettes(cell: Cell) -> dict[int, tuple[float, int]]:
    """By layer the mean silhouette, and of how many prompts."""
    grams = recorded_grams(cell.record)
    if not grams or cell.record.task_kind != "labels":
        return {}
    table = cell.examples(["example", "label"])
    labels = dict(zip(table["example"].to_pylist(), table["label"].to_pylist(), strict=True))
    found = {}
    for layer, gram in grams.items():
        known = [at for at, name in enumerate(gram.examples) if labels.get(name) is not None]
        value = silhouette(gram.values[np.ix_(known, known)], [labels[gram.examples[at]] for at in known])
        if value is not None:
            found[layer] = value, len(known)
    return found


def silhouette(gram: Floats, labels: Sequence[int]) -> float | None:
    """Mean silhouette (Rousseeuw 1987) of points given by their scalar products: (b − a) / max(a, b), a the mean
    distance to the others of a point's class, b that to the nearest other class; 0 of a point that is alone in its
    class. None with a single class.
    """
    classes = np.asarray(labels)
    names = np.unique(classes)
    if len(names) < 2:
        return None
    norms = np.diag(gram)
    distances = np.sqrt(np.maximum(norms[:, None] + norms[None] - 2 * gram, 0.0))
    values = []
    for at, own in enumerate(classes):
        mates = (classes == own) & (np.arange(len(classes)) != at)
        if not mates.any():
            values.append(0.0)
            continue
        inside = float(distances[at, mates].mean())
        outside = min(float(distances[at, classes == other].mean()) for other in names if other != own)
        largest = max(inside, outside)
        values.append((outside - inside) / largest if largest > 0 else 0.0)
    return float(np.mean(values))
