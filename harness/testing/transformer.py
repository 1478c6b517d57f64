"""A random transformer of a few thousand parameters, in hub layout. Imports torch."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, GPTNeoXConfig

from harness.engine.quiet import no_bars
from harness.testing.toy import byte_bpe


def write_transformer(folder: Path, labels: int = 2, seed: int = 0) -> Path:
    """Write config.json, model.safetensors and tokenizer.json of a GPT-NeoX classifier; the folder."""
    tokenizer = byte_bpe()
    config = GPTNeoXConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=256,
        num_labels=labels,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config)
    with no_bars():
        model.save_pretrained(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
