"""Sizes of a transformer, and the memory that follows from them. Imports no torch, so that a plan can use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NAMES = {
    "hidden": ("hidden_size", "n_embd", "d_model", "dim"),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "intermediate": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "hidden_dim"),
    "vocabulary": ("vocab_size",),
    "head_width": ("head_dim",),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv"),
}


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What decides how much memory a transformer's forward takes.

    Attributes:
        hidden, layers, heads, vocabulary: as everywhere.
        intermediate: width of the feed-forward block.
        kv_width: width of a token's keys in one layer, less than `hidden` where heads share keys.
    """

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    kv_width: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModelShape | None:
        """From the content of a config.json; None where it does not tell."""
        text = config.get("text_config") or config

        def first(what: str) -> int | None:
            found = next((text[name] for name in _NAMES[what] if isinstance(text.get(name), int)), None)
            return None if found is None else int(found)

        hidden, layers, heads = first("hidden"), first("layers"), first("heads")
        if not hidden or not layers:
            return None
        heads = heads or 1
        kv_width = (first("kv_heads") or heads) * (first("head_width") or hidden // heads)
        return cls(hidden, layers, heads, first("intermediate") or 4 * hidden, first("vocabulary") or 0, kv_width)

    @classmethod
    def guess(cls, n_params: int) -> ModelShape:
        """A decoder of about so many parameters, as they are commonly built: layers of 64 times less than its width."""
        hidden = max(64, round((n_params * 64 / 12) ** (1 / 3)))
        layers = max(2, hidden // 64)
        return cls(hidden, layers, max(1, hidden // 64), 4 * hidden, 50_000, hidden)

    def adapter_parameters(self, rank: int) -> int:
        """Parameters of an adapter of this rank on every linear layer, of a layer with a gate at most."""
        return rank * self.layers * (4 * 2 * self.hidden + 3 * (self.hidden + self.intermediate))

    def kept(self, itemsize: int) -> int:
        """Bytes of a token's keys and values in all layers."""
        return 2 * self.layers * self.kv_width * itemsize

    def forward(self, row: float, itemsize: int) -> int:
        """Most bytes per token of a forward, in rows of ``row`` tokens; nothing is kept, no logits."""
        return int((8 * self.hidden + 3 * self.intermediate) * itemsize + 8 * self.heads * row)

    def backward(self, row: float, itemsize: int) -> int:
        """Most bytes per token of a forward that is to be differentiated: each layer keeps what it computed."""
        layer = (12 * self.hidden + 4 * self.intermediate) * itemsize + 4 * self.heads * row
        return int(self.layers * layer) + self.forward(row, itemsize)


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """What a victim's need of memory follows from.

    Attributes:
        n_params: all parameters as used.
        shape: of the model.
        batch: prompts per update where the victim is trained; 0 where it is not.
        states: numbers per parameter that the optimiser keeps: 2 for AdamW, about 0 for Adafactor.
        trained: of all parameters, the share that training changes: little where it is an adapter.
        weight_bytes: per parameter, of weights that are quantised while they are loaded; None: those of their dtype.
        reads_vocabulary: whether an answer is read off the whole vocabulary.
        reply_tokens: of a model that is trained to answer in text, how many it says after a prompt, on average; 0 where
            it is trained on the prompts themselves. None: it learns labels.
        dtype: under attack, ``float32``, ``bfloat16``, ``float16``, or ``auto``: by device.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``auto``, or ``spread``.
        engine: whether a child process with an engine of its own (vLLM) answers as well as torch.
    """

    n_params: int
    shape: ModelShape
    batch: int = 0
    states: float = 2.0
    trained: float = 1.0
    reads_vocabulary: bool = False
    reply_tokens: float | None = None
    dtype: str = "float32"
    device: str = "cpu"
    engine: bool = False
    weight_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one process, and of the GPU."""

    process: float
    gpu: float = 0.0
