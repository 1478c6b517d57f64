"""The pool of attacked examples of adversarial training, and sampling from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Backend, Conversation, Flops, Latent, nominal_forward
from plugins.defenses._training.training_rows import TrainingExample, TrainingRowBuilder


@dataclass
class PoolEntry:
    """An attacked training prompt.

    Attributes:
        text: the whole prompt, attack string in place; of a conversation, the message that it stands in.
        label: its true label; `NO_LABEL` where the answer is a text.
        round: in which it was added, counted from 1.
        loss: cross-entropy to the true label (or mean NLL of the good reply) when it was last trained on; None when it
            never was.
        latent: of a training attack that perturbs activations, the perturbation; None of one on text.
        latent_at: index in the prompt's ids of the first token that it perturbs.
        reply: a good answer in text; "" where the answer is a label.
        conversation: the other messages.
    """

    text: str
    label: int
    round: int
    loss: float | None = None
    latent: Latent | None = None
    latent_at: int = 0
    reply: str = ""
    conversation: Conversation = field(default_factory=Conversation)

    @property
    def training_example(self) -> TrainingExample:
        """The prompt with its right answer, under the perturbation."""
        return TrainingExample(self.text, self.label, self.reply, self.latent, self.latent_at, self.conversation)


def load_pool(path: Path) -> list[PoolEntry]:
    """Read what `save_pool` wrote."""
    return [_from_json(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def save_pool(path: Path, pool: list[PoolEntry]) -> None:
    """Write the pool as JSON, in order of addition."""
    path.write_text(json.dumps([_to_json(entry) for entry in pool]), encoding="utf-8")


def _to_json(entry: PoolEntry) -> dict[str, Any]:
    left_out = {"latent", "latent_at"} if entry.latent is None else set()
    left_out |= {"reply"} if not entry.reply else set()
    left_out |= {"conversation"} if entry.conversation.plain else set()
    return {name: value for name, value in asdict(entry).items() if name not in left_out}


def _from_json(data: dict[str, Any]) -> PoolEntry:
    latent = Latent.from_json(data["latent"]) if "latent" in data else None
    around = {"conversation": Conversation.from_json(data["conversation"])} if "conversation" in data else {}
    return PoolEntry(**data | {"latent": latent} | around)


def average_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank of each value among all, shape [n]: 0 the smallest, ties sharing the mean of their ranks."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values) - 1.0, dtype=np.float64)


def log_weights(pool: list[PoolEntry], decay: float) -> NDArray[np.float64]:
    """Logarithm of each entry's sampling weight, up to a constant, shape [pool]: decay · (rank − max rank), where rank
    is the mean of the ranks by round and by last loss (never trained on: highest).
    """
    recency = average_ranks(np.asarray([entry.round for entry in pool], dtype=np.float64))
    losses = average_ranks(
        np.asarray([np.inf if entry.loss is None else entry.loss for entry in pool], dtype=np.float64)
    )
    rank = 0.5 * (recency + losses)
    return np.asarray(decay * (rank - rank.max(initial=0.0)), dtype=np.float64)


def sample_pool(pool: list[PoolEntry], count: int, decay: float, rng: np.random.Generator) -> list[int]:
    """Indices of ``count`` different entries, drawn one after another with probability ∝ exp(`log_weights`) among those
    left.
    """
    # Gumbel top-k: the highest sums of log weight and noise are such a draw, and no weight underflows.
    keys = log_weights(pool, decay) + rng.gumbel(size=len(pool))
    return [int(i) for i in np.argsort(-keys, kind="stable")[:count]]


def update_losses(entries: Sequence[PoolEntry], tokens: int, builder: TrainingRowBuilder, model: Backend) -> Flops:
    """Set the loss of some entries to a model's loss on them.

    Args:
        tokens: of their rows together.

    Returns:
        the compute spent.
    """
    losses, executed = builder.losses([entry.training_example for entry in entries], model)
    for entry, loss in zip(entries, losses, strict=True):
        entry.loss = loss
    return Flops(nominal_forward(model.n_params, tokens), executed)
