"""Gradients by the input embeddings of a row, from which those by the one-hot encoding follow.

The entry of a token is the product of the gradient by the embedding with that token's embedding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.api.model.mellowmax import Mellowmax
from harness.engine.torch.devices import input_device
from harness.engine.torch.heads import Head
from harness.tokens.tokenizer import Floats, Tokens


def embedding_gradient(
    model: Any,
    head: Head,
    rows: Tensor,
    targets: Tensor,
    start: int,
    stop: int,
    overs: Sequence[Mellowmax | None] = (),
) -> tuple[Tensor, Tensor]:
    """Differentiate each row's loss by the embeddings of positions ``start`` to ``stop``.

    Args:
        rows: ids of equal length [n, L].
        targets: label indices [n], or target ids [n, t].
        overs: as in `summed_loss`.

    Returns:
        outputs of the head [n, width] (float32) and gradients [n, stop - start, width of the embedding].
    """
    with torch.enable_grad(), embeddings_as_leaves(model) as leaves:
        outputs = head.outputs(model, rows, targets)
        # A label of several tokens runs several forwards: each contributes to the same positions.
        grads = torch.autograd.grad(summed_loss(outputs, targets, overs), leaves)
    return outputs.detach(), torch.stack([grad[:, start:stop] for grad in grads]).sum(0)


def summed_loss(outputs: Tensor, targets: Tensor, overs: Sequence[Mellowmax | None] = ()) -> Tensor:
    """Sum of the rows' losses in nats, a scalar that can be differentiated.

    Args:
        outputs: of a head [n, width].
        targets: label indices [n], for cross-entropies; or target ids [n, t], for NLLs.
        overs: of each row, how its NLLs become one loss, as in `harness.api.requests.Score`; none: all by their mean.
    """
    if targets.dim() == 1:
        return torch.nn.functional.cross_entropy(outputs, targets.to(outputs.device), reduction="sum")
    if all(over is None for over in overs):
        return -outputs.mean(-1).sum()
    return torch.stack([_text_loss(row, over) for row, over in zip(outputs, overs, strict=True)]).sum()


def _text_loss(log_probs: Tensor, over: Mellowmax | None) -> Tensor:
    """As `harness.engine.losses.text_loss`, of one text [t]."""
    if over is None:
        return -log_probs.mean()
    return ((-over.alpha * log_probs).logsumexp(-1) - math.log(len(log_probs))) / over.alpha


class EmbeddingTable:
    """Embeddings of the allowed ids as the model sees them, scaled where it scales; the last selection is kept."""

    def __init__(self, model: Any) -> None:
        self._embed, self._device = model.get_input_embeddings(), input_device(model)
        self._allowed: Tokens | None = None
        self._table: Tensor | None = None

    def embeddings(self, allowed: Tokens) -> Tensor:
        """Embeddings [A, width] of sorted ids [A]."""
        if self._table is None or self._allowed is None or not np.array_equal(self._allowed, allowed):
            with torch.inference_mode():
                ids = torch.as_tensor(allowed, device=self._device)
                self._table = self._embed(ids)
            self._allowed = allowed.copy()
        return self._table

    def mixed(self, allowed: Tokens, weights: Floats) -> Floats:
        """Sums [S, width] of the embeddings of sorted ids [A] under weights [S, A]."""
        table = self.embeddings(allowed).float()
        rows = torch.as_tensor(weights, dtype=torch.float32, device=table.device)
        found: Floats = (rows @ table).double().cpu().numpy()
        return found

    def entries(self, allowed: Tokens, gradient: Floats) -> Floats:
        """Products [S, A] of a gradient by the embeddings [S, width] with the embeddings of sorted ids [A]."""
        table = self.embeddings(allowed).float()
        rows = torch.as_tensor(gradient, dtype=torch.float32, device=table.device)
        found: Floats = (rows @ table.T).double().cpu().numpy()
        return found


@contextmanager
def embeddings_as_leaves(model: Any) -> Iterator[list[Tensor]]:
    """Within, what the input embedding returns is a leaf to differentiate by; the leaves are listed, one per forward.

    A hook rather than ``inputs_embeds``: the model pools by ids as always, and scales after the embedding are part of
    the graph.
    """
    leaves: list[Tensor] = []

    def hook(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_(True))
        return leaves[-1].view_as(leaves[-1])  # module hooks of profilers cannot stand a leaf as a module's input

    with model.get_input_embeddings().register_forward_hook(hook):
        yield leaves
