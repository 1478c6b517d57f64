"""How many floating-point operations a pass really runs, for any Hugging Face model, without per-model code.

Linear layers: hooks see in two tiny forwards how many rows each layer is applied to, as a·length + b, so a pooler
counts once per row and a head as often as the model applies it (GPT-NeoX's classification head runs on every
position). Attention: scores and values over the full rectangle of queries and keys, from the configuration.

Not `torch.utils.flop_counter`, which counts the calls of one forward while it runs and slows every call down: a formula
in the length of a row is wanted before it runs, and that counter misses the CPU's fused attention kernel. The two agree
within 1% (tests/engine/torch/test_flop_counter.py). Neither counts norms, activations, softmax, rotary embedding,
embedding look-ups, dropout, the optimiser's own arithmetic, nor credits a kernel for skipping masked entries. Not seen
here: weights outside linear layers (fused experts of a mixture, state-space layers); `unseen_share` says how
large their share is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from harness.engine.torch.weights.logical_sizes import linear_layers, parameter_sizes, size_of

_SHORT, _LONG = 3, 5  # lengths of the two probes
FUSED_BACKWARD = 2.5  # backward over forward compute of attention kernels that compute the scores again


@dataclass(frozen=True, slots=True)
class FlopCount:
    """Executed compute of one row as a function of its length.

    Attributes:
        per_token, per_row: FLOPs of linear layers, output embedding of a language model left out.
        per_logit_position: FLOPs of that output embedding per position that reaches it; 0 where there is none.
        per_pair: attention FLOPs per (query, key), summed over layers.
        attention_backward: backward over forward compute of attention: 2 eager, 2.5 for fused kernels (they compute
            the scores again).
        trained_share: of the FLOPs of linear layers, how many are products with weights that are trained.
        trains_head: whether the output embedding is trained.
        unseen_share: share of matrix parameters outside embeddings that no count includes.
    """

    per_token: float
    per_row: float
    per_logit_position: float
    per_pair: float
    attention_backward: float
    unseen_share: float = 0.0
    trained_share: float = 1.0
    trains_head: bool = True

    def _linear(self, tokens: int, logit_positions: int) -> float:
        return self.per_token * tokens + self.per_row + self.per_logit_position * logit_positions

    def forward(self, tokens: int, logit_positions: int = 0) -> float:
        """FLOPs of a forward over a row of ``tokens``, of which so many positions reach the output embedding."""
        return self._linear(tokens, logit_positions) + self.per_pair * tokens * tokens

    def gradient(self, tokens: int, logit_positions: int = 0) -> float:
        """FLOPs of forward and backward with respect to the input embeddings, no weight gradients."""
        attention = self.per_pair * tokens * tokens
        return 2 * self._linear(tokens, logit_positions) + (1 + self.attention_backward) * attention

    def training(self, tokens: int, logit_positions: int = 0) -> float:
        """FLOPs of forward and backward with gradients of all weights, or of those that are trained: an adapter's. The
        layers below the first of these are counted as if it lay at the bottom.
        """
        weights = self.trained_share * (self.per_token * tokens + self.per_row)
        weights += self.per_logit_position * logit_positions if self.trains_head else 0.0
        return self.gradient(tokens, logit_positions) + weights


def measure_flops(model: Any, run: Callable[[torch.Tensor], object], ids: torch.Tensor) -> FlopCount:
    """Find the coefficients for ``model`` with two tiny forwards.

    Args:
        model: on its device; is run twice on tiny inputs.
        run: a plain forward of rows [1, L].
        ids: at least five valid ids, shape [n].
    """
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    layers = {id(m): (m, entries) for m, entries in linear_layers(model) if m is not output}
    applied: dict[int, list[int]] = {key: [0, 0] for key in layers}  # to how many rows, in each probe
    for probe, length in enumerate((_SHORT, _LONG)):
        with ExitStack() as hooks, torch.no_grad():
            for key, (layer, _) in layers.items():
                hooks.enter_context(layer.register_forward_hook(_row_counter(applied[key], probe)))
            run(ids[None, :length])
    per_token = per_row = trained = 0.0
    anything = any(p.requires_grad for p in model.parameters())
    for key, (short, long) in applied.items():
        slope = (long - short) / (_LONG - _SHORT)
        work = 2.0 * layers[key][1]
        per_token += work * slope
        per_row += work * (short - slope * _SHORT)
        if any(p.requires_grad for p in layers[key][0].parameters(recurse=False)):
            trained += work * slope
    return FlopCount(
        trained_share=trained / per_token if anything and per_token else 1.0,
        trains_head=output is None or not anything or output.weight.requires_grad,
        per_token=per_token,
        per_row=per_row,
        per_logit_position=2.0 * size_of(output) if output is not None else 0.0,
        per_pair=_per_pair(model.config.get_text_config()),
        attention_backward=2.0 if model.config._attn_implementation == "eager" else FUSED_BACKWARD,
        unseen_share=_unseen_share(model, [m for key, (m, _) in layers.items() if any(applied[key])], output),
    )


def count_parameters(model: Any) -> tuple[int, int]:
    """All parameters, tied ones once; and those that are neither an embedding nor an untied output embedding. Of
    quantised weights, those that they stand for.

    Not transformers' `num_parameters(exclude_embeddings=True)`, which counts an untied output embedding in.
    """
    total = sum(parameter_sizes(model).values())
    aside = {id(m.weight): size_of(m) for m in model.modules() if isinstance(m, nn.Embedding)}
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if output is not None:
        aside[id(output.weight)] = size_of(output)
    return total, total - sum(aside.values())


def _row_counter(counts: list[int], probe: int) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
    def hook(module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
        counts[probe] += output.numel() // output.shape[-1]

    return hook


def _per_pair(config: Any) -> float:
    """Scores and values: two products of a multiply and an add, per head, per layer."""
    heads = int(getattr(config, "num_attention_heads", 0) or 0)
    width = int(getattr(config, "head_dim", None) or (config.hidden_size // heads if heads else 0))
    kinds: list[str] = getattr(config, "layer_types", None) or ["full_attention"] * int(config.num_hidden_layers)
    layers = sum("attention" in kind and kind != "linear_attention" for kind in kinds)
    return 4.0 * heads * width * layers


def _unseen_share(model: Any, counted: list[Any], output: Any) -> float:
    known = {id(p) for m in counted for p in m.parameters(recurse=False)}
    known |= {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    if output is not None:
        known.add(id(output.weight))
    sizes = parameter_sizes(model)
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    total = sum(sizes[id(p)] for p in matrices)
    return sum(sizes[id(p)] for p in matrices if id(p) not in known) / total if total else 0.0
