"""What an engine is started with, from a torch backend that stands beside it; and what two checkpoints may share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.devices import dtype_name
from harness.errors import VictimError
from harness.hashing import content_key

Runner = Literal["generate", "pooling"]

BLOCK = 32  # tokens per block of the cache; vLLM's own 128 would share no short prefix
_ROWS = 256  # side by side
_TOKENS = {"cpu": 2048, "cuda": 8192}  # per step; log-probabilities of prompts take memory for each
_CACHE_TOKENS = 32_768
_MOST_CACHE = {"cpu": 4 << 30, "cuda": 8 << 30}  # bytes
_LEAST_WIDTH = 32  # of a head, see padding.py
_NOT_SHAPE = ("_name_or_path", "transformers_version", "id2label", "label2id", "torch_dtype", "dtype")


@dataclass(frozen=True, slots=True)
class Options:
    """Two checkpoints of equal options can take turns in one engine.

    Attributes:
        shape: hash of the configuration, names of classes left out.
        dtype: name of the dtype of weights and computation.
        device: ``cpu`` or ``cuda:N``.
        context: longest row in tokens.
        cache_bytes: for keys and values.
        threads: of a CPU's matrix products.
    """

    shape: str
    runner: Runner
    dtype: str
    device: str
    context: int
    cache_bytes: int
    threads: int

    def arguments(self, folder: Path) -> dict[str, Any]:
        """Arguments of `vllm.LLM`."""
        tokens = _TOKENS[self.device.partition(":")[0]]
        return {
            "model": str(folder),
            "runner": self.runner,
            "convert": "classify" if self.runner == "pooling" else "none",
            "dtype": self.dtype,
            "enforce_eager": True,
            "block_size": BLOCK,
            "kv_cache_memory_bytes": self.cache_bytes,
            "max_model_len": self.context + 1,
            "max_num_seqs": _ROWS,
            "max_num_batched_tokens": max(tokens, min(self.context + 1, 4 * tokens)),
            "max_logprobs": -1,
            "skip_tokenizer_init": True,
            "generation_config": "vllm",  # nothing of the model's own settings has any effect
            "disable_log_stats": True,
        }


def options_of(folder: Path, backend: TorchBackend, threads: int, cache_bytes: int | None = None) -> Options:
    """The options for a checkpoint.

    Args:
        backend: the same checkpoint in torch.
        cache_bytes: for keys and values; by default room for 32,768 tokens or one context, within bounds.

    Raises:
        VictimError: no configuration in the folder.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VictimError(f"{path}: cannot be read ({error}); vLLM needs a model folder in hub layout") from None
    classes = backend.n_labels if backend.head.name == "classification" else 0
    device = backend.model.device
    per_token = _bytes_per_token(backend.model)
    context = int(backend.context + backend.head.extra)
    if cache_bytes is None:
        cache_bytes = min(max(_CACHE_TOKENS, context + 2 * BLOCK) * per_token, _MOST_CACHE[device.type])
        context = min(context, cache_bytes // per_token - 2 * BLOCK)
    return Options(
        shape=content_key({"classes": classes} | {k: v for k, v in config.items() if k not in _NOT_SHAPE}),
        runner="pooling" if classes else "generate",
        dtype=dtype_name(backend.model.dtype),
        device=str(device),
        context=context,
        cache_bytes=cache_bytes,
        threads=threads,
    )


def not_on_one_device(model: Any) -> str:
    """Why no engine can stand beside this model, or ""."""
    places = {str(place) for place in (getattr(model, "hf_device_map", None) or {}).values()}
    if len(places) < 2:
        return ""
    return f"the model is spread over {', '.join(sorted(places))}; an engine is started on one device only"


def _bytes_per_token(model: Any) -> int:
    """Of keys and values, over all layers; an upper bound for models that keep less."""
    config = model.config.get_text_config()
    heads = int(getattr(config, "num_attention_heads", 0) or 1)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    kept = int(getattr(config, "num_key_value_heads", None) or heads)
    return 2 * int(config.num_hidden_layers) * kept * max(width, _LEAST_WIDTH) * int(model.dtype.itemsize)
