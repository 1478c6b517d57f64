"""The model that is measured, and its tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM

from harness.api.problem.placement import allowed_tokens
from harness.bench.sizes import CONTEXT, ModelSize, find_size
from harness.bench.synthetic_text import synthetic_bpe
from harness.engine.torch.devices import input_device, resolve_device
from harness.engine.torch.flop_counter import count_parameters
from harness.engine.torch.heads import HeadName, make_head
from harness.engine.torch.loading import context_length, load_model
from harness.errors import VictimError, first_line
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.tokenizer import Tokens


@dataclass(frozen=True)
class BenchModel:
    """A loaded model to measure with.

    Attributes:
        name: for people.
        source: folder or hub id; None where the weights are random.
        head: what the loss is of: a label of a classifier, else target tokens.
        parameters: all of them.
        context: longest row in tokens.
        allowed: ids to draw strings from, sorted.
    """

    name: str
    source: str | None
    model: Any
    tokenizer: HFTokenizer
    head: HeadName
    parameters: int
    context: int
    allowed: Tokens

    @property
    def device(self) -> torch.device:
        """Where its inputs go."""
        return input_device(self.model)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of its weights."""
        dtype: torch.dtype = self.model.dtype
        return dtype


def open_bench_model(source: str | None, size: str, device: str = "auto", dtype: str = "auto") -> BenchModel:
    """Load a model, or make one of random weights.

    Args:
        source: folder or hub id; None for random weights of ``size``.
        device, dtype: as in `resolve_device`.

    Raises:
        VictimError: no such model, size, device or dtype.
    """
    torch_device, torch_dtype = resolve_device(device, dtype)
    head: HeadName = "generation"
    if source is None:
        shape = find_size(size)
        tokenizer = HFTokenizer(synthetic_bpe(shape.tokenizer_entries), rows=shape.vocabulary)
        model, name = random_gpt_neox(shape, torch_device, torch_dtype), f"GPT-NeoX {size.lower()}, random weights"
    else:
        model, tokenizer, head = _load(source, torch_dtype)
        model, name = model.to(torch_device), str(source)
    model = model.eval().requires_grad_(False)
    context = context_length(model) - make_head(head, model, tokenizer, ()).extra
    allowed = allowed_tokens(tokenizer)
    return BenchModel(name, source, model, tokenizer, head, count_parameters(model)[0], context, allowed)


def random_gpt_neox(size: ModelSize, device: torch.device, dtype: torch.dtype, seed: int = 0) -> Any:
    """A language model of this size; the same seed gives the same weights, the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPTNeoXForCausalLM(gpt_neox_config(size))
    return model.to(device=device, dtype=dtype)


def gpt_neox_config(size: ModelSize) -> GPTNeoXConfig:
    """The configuration of a model of this size."""
    return GPTNeoXConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.hidden,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.25},
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )


def _load(source: str, dtype: torch.dtype) -> tuple[Any, HFTokenizer, HeadName]:
    """Load model and tokenizer of a folder or hub id, and tell the head from the configuration."""
    local = Path(source).is_dir()
    try:
        config = AutoConfig.from_pretrained(source, local_files_only=local, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise VictimError(f"--model {source}: no model can be found there: {first_line(error)}") from error
    architectures = [str(name) for name in getattr(config, "architectures", None) or ()]
    classifies = any(name.endswith("ForSequenceClassification") for name in architectures)
    head: HeadName = "classification" if classifies else "generation"
    model, missing = load_model(source, head, dtype=dtype)
    if missing:
        raise VictimError(f"--model {source}: the file lacks weights that the model needs: {', '.join(missing)}")
    rows = int(model.get_input_embeddings().weight.shape[0])
    if local:
        return model, HFTokenizer.from_file(Path(source) / "tokenizer.json", rows=rows), head
    try:
        fast = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise VictimError(f"--model {source}: no tokenizer can be found there: {first_line(error)}") from error
    return model, HFTokenizer.from_transformers(fast, rows=rows), head
