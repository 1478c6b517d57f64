"""Sizes and pretraining compute of models by name: Pythia and Qwen2.5 of arXiv 2407.18213, and open chat models.

Shapes are those of the published config.json files; parameter counts follow from them by formula (checked against the
real classes and published counts in the tests). Pretraining compute is 6·N·D with N = non-embedding parameters + input
embedding, D = pretraining tokens: 299,892,736,000 for Pythia, 18T for Qwen2.5 as its makers state for every size. (The
study assumed 10.5T for Qwen2.5 above 0.5B and swapped the sizes of 3B and 7B.) 2T tokens for SmolLM2 of 135M
parameters (2502.02737), 9T for Llama 3.2 of 1B and 3B, 15T for Llama 3.1 (their model cards), 2T for Gemma 2 of 2B
(2408.00118), 3T for Gemma of 2B (2403.08295), 15T for Llama 3 of 8B (its model card); Mistral's makers do not tell. Of
defended checkpoints it is the base model's: see `defended`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness import ModelShape

PYTHIA_TOKENS = 299_892_736_000
QWEN25_TOKENS = 18_000_000_000_000
SMOLLM2_135M_TOKENS = 2_000_000_000_000
LLAMA_3_8B_TOKENS = 15_000_000_000_000

Family = Literal[
    "pythia",
    "qwen2.5",
    "qwen2.5-instruct",
    "smollm2",
    "llama-3-instruct",
    "mistral",
    "gemma-2",
    "gemma",
    "zephyr-r2d2",
    "llama-3-rr",
    "mistral-rr",
    "llama-3-lat",
]


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
        pretraining_tokens: D; None where its makers do not tell.
        head_width: of one attention head, where it is not hidden / heads.
        revision: commit that the name stands for; None: the newest, and the record tells which.
    """

    hub: str
    family: Family
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    context: int
    tied: bool
    pretraining_tokens: int | None
    head_width: int | None = None
    revision: str | None = None

    @property
    def chat(self) -> bool:
        """Whether its tokenizer has a chat template."""
        return self.family not in ("pythia", "gemma")

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
        queries, kv = self.heads * self._head_width, self.kv_heads * self._head_width
        biases = queries + 2 * kv if self.family.startswith("qwen2.5") else 0
        norms = 4 if self.family == "gemma-2" else 2  # without bias
        layer = 2 * h * queries + 2 * h * kv + biases + 3 * h * i + norms * h
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
        kv_width = self.kv_heads * self._head_width
        return ModelShape(self.hidden, self.layers, self.heads, self.intermediate, self.vocabulary, kv_width)

    @property
    def pretraining_flops(self) -> float | None:
        """6·N·D, N = non-embedding + input embedding; None where D is unknown."""
        if self.pretraining_tokens is None:
            return None
        return 6.0 * (self.non_embedding + self.embedding) * self.pretraining_tokens

    @property
    def _head_width(self) -> int:
        return self.head_width or self.hidden // self.heads


def _pythia(
    size: str, hidden: int, layers: int, heads: int, revision: str | None = None, vocabulary: int = 50_304
) -> Preset:
    shape = (hidden, layers, heads, heads, 4 * hidden, vocabulary, 2048)
    return Preset(f"EleutherAI/pythia-{size}", "pythia", *shape, False, PYTHIA_TOKENS, revision=revision)


def _qwen(size: str, *shape: int, tied: bool, long: bool, base: str, instruct: str) -> tuple[Preset, Preset]:
    """A size of Qwen2.5: the base model and the one that was taught to chat, at these commits."""
    rows, context = 151_936 if tied else 152_064, 131_072 if long else 32_768
    hub, tokens = f"Qwen/Qwen2.5-{size}", QWEN25_TOKENS
    return (
        Preset(hub, "qwen2.5", *shape, rows, context, tied, tokens, revision=base),
        Preset(f"{hub}-Instruct", "qwen2.5-instruct", *shape, rows, 32_768, tied, tokens, revision=instruct),
    )


def _llama(name: str, *shape: int, tied: bool, tokens: int, revision: str) -> Preset:
    hub = f"meta-llama/Llama-{name}-Instruct"
    return Preset(hub, "llama-3-instruct", *shape, 128_256, 131_072, tied, tokens, revision=revision)


def _defended(hub: str, family: Family, base: Literal["llama-3", "mistral"]) -> Preset:
    """A defended checkpoint of Llama 3 of 8B or of Mistral 7B (v0.1 and v0.2): of a family of its own, so that it is no
    point on its base's curve, and at no commit that is known here.
    """
    rows, context, tokens = (128_256, 8192, LLAMA_3_8B_TOKENS) if base == "llama-3" else (32_000, 32_768, None)
    return Preset(hub, family, 4096, 32, 32, 8, 14_336, rows, context, False, tokens)


_ALL = (
    _pythia("14m", 128, 6, 4),
    _pythia("31m", 256, 6, 8),
    _pythia("70m", 512, 6, 8, "a39f36b100fe8a5377810d56c3f4789b9c53ac42"),
    _pythia("160m", 768, 12, 12, "50f5173d932e8e61f858120bcb800b97af589f46"),
    _pythia("410m", 1024, 24, 16, "9879c9b5f8bea9051dcb0e68dff21493d67e9d4f"),
    _pythia("1b", 2048, 16, 8, "f73d7dcc545c8bd326d8559c8ef84ffe92fea6b2"),
    _pythia("1.4b", 2048, 24, 16, "fedc38a16eea3bd36a96b906d78d11d2ce18ed79"),
    _pythia("2.8b", 2560, 32, 32, "2a259cdd96a4beb1cdf467512e3904197345f6a9"),
    _pythia("6.9b", 4096, 32, 32, "c0e3eee36dc47af0c49f361c74cfe459c09f7f23", 50_432),
    _pythia("12b", 5120, 36, 40, "bb1e3e710cdf6b524461d543cfb5ba773f0a81b6", 50_688),
    *_qwen(
        "0.5B",
        *(896, 24, 14, 2, 4864),
        tied=True,
        long=False,
        base="060db6499f32faf8b98477b0a26969ef7d8b9987",
        instruct="7ae557604adf67be50417f59c2c2f167def9a775",
    ),
    *_qwen(
        "1.5B",
        *(1536, 28, 12, 2, 8960),
        tied=True,
        long=True,
        base="8faed761d45a263340a0528343f099c05c9a4323",
        instruct="989aa7980e4cf806f80c7fef2b1adb7bc71aa306",
    ),
    *_qwen(
        "3B",
        *(2048, 36, 16, 2, 11_008),
        tied=True,
        long=False,
        base="3aab1f1954e9cc14eb9509a215f9e5ca08227a9b",
        instruct="aa8e72537993ba99e69dfaafa59ed015b17504d1",
    ),
    *_qwen(
        "7B",
        *(3584, 28, 28, 4, 18_944),
        tied=False,
        long=True,
        base="d149729398750b98c0af14eb82c78cfe92750796",
        instruct="a09a35458c702b33eeacc393d103063234e8bc28",
    ),
    *_qwen(
        "14B",
        *(5120, 48, 40, 8, 13_824),
        tied=False,
        long=True,
        base="97e1e76335b7017d8f67c08a19d103c0504298c9",
        instruct="cf98f3b3bbb457ad9e2bb7baf9a0125b6b88caa8",
    ),
    Preset(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "smollm2",
        *(576, 30, 9, 3, 1536, 49_152, 8192),
        tied=True,
        pretraining_tokens=SMOLLM2_135M_TOKENS,
    ),
    _llama(
        "3.2-1B",
        *(2048, 16, 32, 8, 8192),
        tied=True,
        tokens=9_000_000_000_000,
        revision="9213176726f574b556790deb65791e0c5aa438b6",
    ),
    _llama(
        "3.2-3B",
        *(3072, 28, 24, 8, 8192),
        tied=True,
        tokens=9_000_000_000_000,
        revision="0cb88a4f764b7a12671c53f0838cd831a0843b95",
    ),
    _llama(
        "3.1-8B",
        *(4096, 32, 32, 8, 14_336),
        tied=False,
        tokens=15_000_000_000_000,
        revision="0e9e39f249a16976918f6564b8830bc894c89659",
    ),
    Preset(
        "mistralai/Mistral-7B-Instruct-v0.3",
        "mistral",
        *(4096, 32, 32, 8, 14_336, 32_768, 32_768),
        tied=False,
        pretraining_tokens=None,
        revision="c170c708c41dac9275d15a8fff4eca08d52bab71",
    ),
    Preset(
        "google/gemma-2-2b-it",
        "gemma-2",
        *(2304, 26, 8, 4, 9216, 256_000, 8192),
        tied=True,
        pretraining_tokens=2_000_000_000_000,
        head_width=256,
        revision="299a8560bedf22ed1c72a8a11e7dce4a7f9f51f8",
    ),
    Preset(
        "google/gemma-2b",
        "gemma",
        *(2048, 18, 8, 1, 16_384, 256_000, 8192),
        tied=True,
        pretraining_tokens=3_000_000_000_000,
        head_width=256,
        revision="9cf48e52b224239de00d483ec8eb84fb8d0f3a3a",
    ),
    _defended("cais/zephyr_7b_r2d2", "zephyr-r2d2", "mistral"),
    _defended("GraySwanAI/Llama-3-8B-Instruct-RR", "llama-3-rr", "llama-3"),
    _defended("GraySwanAI/Mistral-7B-Instruct-RR", "mistral-rr", "mistral"),
    _defended("LLM-LAT/robust-llama3-8b-instruct", "llama-3-lat", "llama-3"),
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
