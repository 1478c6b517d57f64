"""Models with random weights to measure with: GPT-NeoX of Pythia's shapes. Imports no torch."""

from __future__ import annotations

from typing import NamedTuple

from harness.errors import VictimError


class ModelSize(NamedTuple):
    """Shape of a decoder.

    Attributes:
        vocabulary: rows of the embedding and of the (untied) output embedding.
        tokenizer_entries: ids of the tokenizer, which may have fewer.
    """

    hidden: int
    layers: int
    heads: int
    vocabulary: int
    tokenizer_entries: int

    @property
    def parameters(self) -> int:
        """All of them, both embeddings included."""
        layer = 12 * self.hidden**2 + 13 * self.hidden
        return self.layers * layer + 2 * self.hidden + 2 * self.vocabulary * self.hidden


SIZES = {
    "60k": ModelSize(32, 2, 4, 512, 512),  # to try the command out
    "1.7m": ModelSize(128, 6, 4, 2048, 2048),  # the shape of Pythia 14M, with a small vocabulary
    "21m": ModelSize(512, 6, 8, 2048, 2048),  # of Pythia 70M
    "1.4b": ModelSize(2048, 24, 16, 50_304, 2048),  # of Pythia 1.4B, vocabulary included
}
CONTEXT = 2048


def find_size(name: str) -> ModelSize:
    """The size of that name, in any case of letters.

    Raises:
        VictimError: there is none.
    """
    if name.lower() not in SIZES:
        raise VictimError(f"--size {name}: no such size; write one of {', '.join(SIZES)}")
    return SIZES[name.lower()]
