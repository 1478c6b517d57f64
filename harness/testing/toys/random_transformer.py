"""Random transformers of a few thousand parameters. Imports torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, GPTNeoXConfig

from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.loading import no_progress_bars
from harness.testing.toys.backend import byte_bpe
from harness.tokens.hf_tokenizer import HFTokenizer


def random_model(labels: int = 2, seed: int = 0, **config: Any) -> Any:
    """A GPT-NeoX classifier with random weights, or a language model where ``labels`` is 0.

    Args:
        config: fields of its GPTNeoXConfig.
    """
    fields: dict[str, Any] = {
        "vocab_size": byte_bpe().get_vocab_size(),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 256,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    whole = GPTNeoXConfig(**fields | ({"num_labels": labels} if labels else {}) | config)
    auto = AutoModelForSequenceClassification if labels else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return auto.from_config(whole).eval()


@cache
def random_backend(labels: int = 2, seed: int = 0) -> TorchBackend:
    """A backend of `random_model`, made once."""
    return TorchBackend(
        random_model(labels, seed), HFTokenizer(byte_bpe()), "classification" if labels else "generation"
    )


def write_transformer(folder: Path, labels: int = 2, seed: int = 0) -> Path:
    """Write config.json, model.safetensors and tokenizer.json of `random_model` into a folder, and return that."""
    with no_progress_bars():
        random_model(labels, seed).save_pretrained(str(folder))
    byte_bpe().save(str(folder / "tokenizer.json"))
    return folder
