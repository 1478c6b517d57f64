"""What an engine is started with, worked out from a torch backend of the same checkpoint."""

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

BLOCK_TOKENS = 32  # of the cache; vLLM's own 128 would share no short prefix
_ROWS = 256  # side by side
_STEP_TOKENS = {"cpu": 2048, "cuda": 8192}  # log-probabilities of prompts take memory for each
_CACHE_TOKENS = 32_768
_MAX_CACHE_BYTES = {"cpu": 4 << 30, "cuda": 8 << 30}
_MIN_HEAD_WIDTH = 32  # see `head_padding`
_NOT_OF_THE_SHAPE = ("_name_or_path", "transformers_version", "id2label", "label2id", "torch_dtype", "dtype")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine is started with. Two checkpoints of equal options can take turns in one.

    Attributes:
        shape: hash of the configuration, names of classes left out.
        runner: vLLM's word for how a model is used: ``pooling`` for a classifier.
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
        tokens = _STEP_TOKENS[self.device.partition(":")[0]]
        return {
            "model": str(folder),
            "runner": self.runner,
            "convert": "classify" if self.runner == "pooling" else "none",
            "dtype": self.dtype,
            "enforce_eager": True,
            "block_size": BLOCK_TOKENS,
            "kv_cache_memory_bytes": self.cache_bytes,
            "max_model_len": self.context + 1,
            "max_num_seqs": _ROWS,
            "max_num_batched_tokens": max(tokens, min(self.context + 1, 4 * tokens)),
            "max_logprobs": -1,
            "skip_tokenizer_init": True,
            "generation_config": "vllm",  # nothing of the model's own settings has any effect
            "disable_log_stats": True,
        }


def engine_options(folder: Path, backend: TorchBackend, threads: int, cache_bytes: int | None = None) -> EngineOptions:
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
        why = getattr(error, "strerror", None) or error
        raise VictimError(f"{path}: cannot be read ({why}); vLLM needs a model folder in hub layout") from None
    classes = backend.n_labels if backend.head.name == "classification" else 0
    device = backend.model.device
    per_token = _bytes_per_token(backend.model)
    context = int(backend.context + backend.head.extra)
    if cache_bytes is None:
        cache_bytes = min(max(_CACHE_TOKENS, context + 2 * BLOCK_TOKENS) * per_token, _MAX_CACHE_BYTES[device.type])
        context = min(context, cache_bytes // per_token - 2 * BLOCK_TOKENS)
    return EngineOptions(
        shape=content_key({"classes": classes} | {k: v for k, v in config.items() if k not in _NOT_OF_THE_SHAPE}),
        runner="pooling" if classes else "generate",
        dtype=dtype_name(backend.model.dtype),
        device=str(device),
        context=context,
        cache_bytes=cache_bytes,
        threads=threads,
    )


def why_not_on_one_device(model: Any) -> str:
    """Why no engine can be started for this model, which lies on several devices; "" where it lies on one."""
    devices = {str(name) for name in (getattr(model, "hf_device_map", None) or {}).values()}
    if len(devices) < 2:
        return ""
    return f"the model is spread over {', '.join(sorted(devices))}; an engine is started on one device only"


def _bytes_per_token(model: Any) -> int:
    """Bytes of a token's keys and values, over all layers; an upper bound for models that keep less."""
    config = model.config.get_text_config()
    heads = int(getattr(config, "num_attention_heads", 0) or 1)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    return 2 * int(config.num_hidden_layers) * kv_heads * max(width, _MIN_HEAD_WIDTH) * int(model.dtype.itemsize)
