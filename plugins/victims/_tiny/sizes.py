"""The sizes of the tiny victims: shape and training of each."""

from __future__ import annotations

from typing import NamedTuple


class TinyShape(NamedTuple):
    """Shape of a transformer, and how it is trained.

    Attributes:
        hidden: width.
        layers: decoder layers.
        heads: attention heads.
        steps: training steps after which both synthetic tasks are learnt, where the size can learn them, and a language
            model gives the right reply to requests like those of its training.
        learning_rate: at its peak; wider models need a lower one.
        init: standard deviation of the initial weights. The usual 0.02 suits widths of hundreds: narrow models learn
            several times slower from it.
    """

    hidden: int
    layers: int
    heads: int
    steps: int = 700
    learning_rate: float = 3e-3
    init: float = 0.1

    @property
    def intermediate(self) -> int:
        """Width of the MLP."""
        return 4 * self.hidden

    @property
    def non_embedding(self) -> int:
        """Parameters without the embedding, two-label head included."""
        h, i = self.hidden, self.intermediate
        attention = (3 * h * h + 3 * h) + (h * h + h)
        mlp = (h * i + i) + (i * h + h)
        norms = 4 * h
        return self.layers * (attention + mlp + norms) + 2 * h + 2 * h


SIBLING_SIZE = "26k"  # of the small model next to a larger victim, such as an attack's draft model
SIBLING_TEXT_STEPS = 300  # of its training as a language model; more would lower its perplexity by a few percent

SHAPES = {
    "7k": TinyShape(16, 2, 2),
    "26k": TinyShape(32, 2, 2),
    "57k": TinyShape(48, 2, 3),
    "150k": TinyShape(64, 3, 4),
    "800k": TinyShape(128, 4, 4, steps=500, learning_rate=2e-3),
    "3m": TinyShape(256, 4, 8, steps=400, learning_rate=1e-3, init=0.05),
}
