"""The models that are measured, of random weights, and the shape of the requests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from harness.api.problem.placement import allowed_tokens
from harness.bench.model import BenchModel, gpt_neox_config
from harness.bench.sizes import SIZES
from harness.bench.synthetic_text import synthetic_bpe
from harness.bench.workload import WorkloadShape
from harness.engine.torch.flop_counter import count_parameters
from harness.engine.torch.heads import make_head
from harness.engine.torch.loading import context_length
from harness.tokens.hf_tokenizer import HFTokenizer
from tests.gpu.parts import Setting

MakeConfig = Callable[[], Any]


def configs(setting: Setting) -> dict[str, MakeConfig]:
    """Configurations by name."""
    if setting.small:
        small = partial(qwen2_config, hidden=32, layers=2, heads=4, intermediate=64, vocabulary=512)
        return {"GPT-NeoX 60k": partial(gpt_neox_config, SIZES["60k"]), "Qwen2 of that size": small}
    return {"Pythia 1.4B": partial(gpt_neox_config, SIZES["1.4b"]), "Qwen2 1.5B": qwen2_config}


def qwen2_config(
    hidden: int = 1536, layers: int = 28, heads: int = 12, intermediate: int = 8960, vocabulary: int = 151_936
) -> Qwen2Config:
    """Of Qwen2-1.5B's shape, or another."""
    return Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=2,
        intermediate_size=intermediate,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=True,
    )


def build(name: str, make: MakeConfig, setting: Setting) -> BenchModel:
    """A model in the precision that is measured: bfloat16 on a card, float32 on a processor."""
    config, device = make(), torch.device(setting.device)
    tokenizer = HFTokenizer(synthetic_bpe(min(2048, config.vocab_size)), rows=config.vocab_size)
    torch.manual_seed(0)
    with device:  # weights are drawn there: a processor takes long for a billion
        model = AutoModelForCausalLM.from_config(config, dtype=dtype_of(setting))
    model = model.to(device).eval().requires_grad_(False)
    context = context_length(model) - make_head("generation", model, tokenizer, ()).extra
    parameters, allowed = count_parameters(model)[0], allowed_tokens(tokenizer)
    return BenchModel(name, None, model, tokenizer, "generation", parameters, context, allowed)


def dtype_of(setting: Setting) -> torch.dtype:
    """The precision that is measured."""
    return torch.float32 if setting.small else torch.bfloat16


def workload(setting: Setting) -> WorkloadShape:
    """What is asked."""
    return WorkloadShape(40, 8, 4, 32) if setting.small else WorkloadShape(300, 20, 4, 512)
