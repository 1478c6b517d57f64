"""Sizes and pretraining compute of the models of arXiv 2407.18213, Pythia and Qwen2.5, and of SmolLM2 (2502.02737).

Shapes are those of the published config.json files; parameter counts follow from them by formula (checked against the
real classes in the tests). Pretraining compute is 6·N·D with N = non-embedding parameters + input embedding, D =
pretraining tokens: 299,892,736,000 for Pythia, 18T for Qwen2.5 as its makers state for every size. (The study assumed
10.5T for Qwen2.5 above 0.5B and swapped the sizes of 3B and 7B.) 2T tokens for SmolLM2 of 135M parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness import ModelShape

PYTHIA_TOKENS = 299_892_736_000
QWEN25_TOKENS = 18_000_000_000_000
SMOLLM2_135M_TOKENS = 2_000_000_000_000


@dataclass(frozen=True, slots=True)
class Preset:
    """Shape of a published decoder.

    Attributes:
        hub: hub id.
        family: models on one scaling curve.
        hidden, layers, heads, kv_heads, intermediate: of the decoder.
        vocabulary: rows of the embedding, padding included.
        context: longest sequence in tokens.
        tied: whether the output embedding is the input embedding.
        pretraining_tokens: D.
    """

    hub: str
    family: Literal["pythia", "qwen2.5", "smollm2"]
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    context: int
    tied: bool
    pretraining_tokens: int

    @property
    def chat(self) -> bool:
        """Whether its tokenizer has a chat template."""
        return self.family != "pythia"

    @property
    def name(self) -> str:
        """Short name, e.g. ``pythia-14m``."""
        return self.hub.split("/")[1].casefold()

    @property
    def non_embedding(self) -> int:
        """Parameters without any embedding."""
        h, i = self.hidden, self.intermediate
        if self.family == "pythia":  # all linear layers and both norms of a layer have biases
            layer = (3 * h * h + 3 * h) + (h * h + h) + (h * i + i) + (i * h + h) + 4 * h
            return self.layers * layer + 2 * h
        kv = self.kv_heads * (h // self.heads)
        if self.family == "smollm2":  # no biases at all
            return self.layers * (2 * h * h + 2 * h * kv + 3 * h * i + 2 * h) + h
        # biases on queries, keys and values only; norms without bias
        layer = (h * h + h) + 2 * (h * kv + kv) + h * h + 3 * h * i + 2 * h
        return self.layers * layer + h

    @property
    def embedding(self) -> int:
        """Parameters of the input embedding."""
        return self.vocabulary * self.hidden

    def as_classifier(self, labels: int) -> int:
        """All parameters with a classification head (no bias) instead of the output embedding."""
        return self.non_embedding + self.embedding + labels * self.hidden

    @property
    def as_language_model(self) -> int:
        """All parameters with the output embedding, counted once when tied."""
        return self.non_embedding + self.embedding * (1 if self.tied else 2)

    @property
    def shape(self) -> ModelShape:
        """What its need of memory follows from."""
        kv_width = self.kv_heads * (self.hidden // self.heads)
        return ModelShape(self.hidden, self.layers, self.heads, self.intermediate, self.vocabulary, kv_width)

    @property
    def pretraining_flops(self) -> float:
        """6·N·D, N = non-embedding + input embedding."""
        return 6.0 * (self.non_embedding + self.embedding) * self.pretraining_tokens


def _pythia(size: str, hidden: int, layers: int, heads: int, vocabulary: int = 50_304) -> Preset:
    return Preset(
        f"EleutherAI/pythia-{size}",
        "pythia",
        hidden,
        layers,
        heads,
        heads,
        4 * hidden,
        vocabulary,
        2048,
        False,
        PYTHIA_TOKENS,
    )


def _qwen(
    size: str, hidden: int, layers: int, heads: int, kv_heads: int, intermediate: int, context: int, tied: bool
) -> Preset:
    rows = 151_936 if tied else 152_064
    return Preset(
        f"Qwen/Qwen2.5-{size}",
        "qwen2.5",
        hidden,
        layers,
        heads,
        kv_heads,
        intermediate,
        rows,
        context,
        tied,
        QWEN25_TOKENS,
    )


_ALL = (
    _pythia("14m", 128, 6, 4),
    _pythia("31m", 256, 6, 8),
    _pythia("70m", 512, 6, 8),
    _pythia("160m", 768, 12, 12),
    _pythia("410m", 1024, 24, 16),
    _pythia("1b", 2048, 16, 8),
    _pythia("1.4b", 2048, 24, 16),
    _pythia("2.8b", 2560, 32, 32),
    _pythia("6.9b", 4096, 32, 32, 50_432),
    _pythia("12b", 5120, 36, 40, 50_688),
    _qwen("0.5B", 896, 24, 14, 2, 4864, 32_768, tied=True),
    _qwen("1.5B", 1536, 28, 12, 2, 8960, 131_072, tied=True),
    _qwen("3B", 2048, 36, 16, 2, 11_008, 32_768, tied=True),
    _qwen("7B", 3584, 28, 28, 4, 18_944, 131_072, tied=False),
    _qwen("14B", 5120, 48, 40, 8, 13_824, 131_072, tied=False),
    Preset(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "smollm2",
        576,
        30,
        9,
        3,
        1536,
        49_152,
        8192,
        True,
        SMOLLM2_135M_TOKENS,
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ALL}
"""By short name, e.g. ``pythia-14m`` or ``qwen2.5-0.5b``."""

_BY_HUB = {preset.hub.casefold(): preset for preset in _ALL}


def find_preset(model: str) -> Preset | None:
    """The preset with this short name or hub id, in any case of letters."""
    return PRESETS.get(model.casefold()) or _BY_HUB.get(model.casefold())


def smallest_of_family(family: str) -> Preset:
    """The preset of a family with the fewest parameters."""
    of_family = (preset for preset in _ALL if preset.family == family)
    return min(of_family, key=lambda preset: preset.as_language_model)
