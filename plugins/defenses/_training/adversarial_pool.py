"""The pool of adversarial examples of adversarial training, and how it is sampled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Backend, Flops, Latent, nominal_forward
from plugins.defenses._training.training_rows import TrainingRow, TrainingRows


@dataclass
class PoolEntry:
    """An attacked training prompt.

    Attributes:
        text: the whole prompt, attack string in place.
        label: its true label; `NO_LABEL` where the answer is a text.
        round: in which it was added.
        loss: cross-entropy to the true label (or mean NLL of the good reply) when it was last trained on; None when it
            never was.
        latent: the perturbation found with it, of an attack that perturbs activations; None of one on text.
        latent_at: its first place in the prompt's ids.
        reply: of an answer in text, the good one.
    """

    text: str
    label: int
    round: int
    loss: float | None = None
    latent: Latent | None = None
    latent_at: int = 0
    reply: str = ""

    @property
    def lesson(self) -> TrainingRow:
        """What is trained on."""
        return TrainingRow(self.text, self.label, self.reply, self.latent, self.latent_at)


def load_pool(path: Path) -> list[PoolEntry]:
    """Read what `save_pool` wrote."""
    return [_entry(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def save_pool(path: Path, pool: list[PoolEntry]) -> None:
    """Write the pool as JSON, in order of addition."""
    path.write_text(json.dumps([_plain(entry) for entry in pool]), encoding="utf-8")


def _plain(entry: PoolEntry) -> dict[str, Any]:
    whole = asdict(entry)
    left_out = {"latent", "latent_at"} if entry.latent is None else set()
    left_out |= {"reply"} if not entry.reply else set()
    return {name: value for name, value in whole.items() if name not in left_out}


def _entry(plain: dict[str, Any]) -> PoolEntry:
    latent = Latent.from_json(plain["latent"]) if "latent" in plain else None
    return PoolEntry(**plain | {"latent": latent})


def true_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank of each value among all, 0 the smallest, ties sharing the mean of their ranks."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values) - 1.0, dtype=np.float64)


def log_weights(pool: list[PoolEntry], decay: float) -> NDArray[np.float64]:
    """decay · (rank − max rank), rank the mean of recency rank and last-loss rank (never trained on = highest); shape
    [pool].
    """
    recency = true_ranks(np.asarray([entry.round for entry in pool], dtype=np.float64))
    losses = true_ranks(np.asarray([np.inf if entry.loss is None else entry.loss for entry in pool], dtype=np.float64))
    rank = 0.5 * (recency + losses)
    return np.asarray(decay * (rank - rank.max(initial=0.0)), dtype=np.float64)


def sampling_weights(pool: list[PoolEntry], decay: float) -> NDArray[np.float64]:
    """Probabilities of the first draw, ∝ exp(`log_weights`); shape [pool]."""
    weights = np.exp(log_weights(pool, decay))
    return np.asarray(weights / weights.sum())


def sample_pool(pool: list[PoolEntry], count: int, decay: float, rng: np.random.Generator) -> list[int]:
    """Indices of ``count`` different entries, drawn one after another with `sampling_weights` of those left."""
    # The highest sums of log weight and Gumbel noise are such a draw, and no weight vanishes however steep the decay.
    keys = log_weights(pool, decay) + rng.gumbel(size=len(pool))
    return [int(i) for i in np.argsort(-keys, kind="stable")[:count]]


def note_losses(entries: Sequence[PoolEntry], tokens: int, school: TrainingRows, model: Backend) -> Flops:
    """Write a model's loss on some entries into them; the compute that it took.

    Args:
        tokens: of their rows together.
    """
    losses, executed = school.losses([entry.lesson for entry in entries], model)
    for entry, loss in zip(entries, losses, strict=True):
        entry.loss = loss
    return Flops(nominal_forward(model.n_params, tokens), executed)
