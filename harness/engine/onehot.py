"""Gradient of a label's cross-entropy by the one-hot encoding of some positions, and the best substitutions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.engine.heads import Head
from harness.tokens.text import Floats, Tokens


def embedding_gradient(
    model: Any, head: Head, rows: Tensor, targets: Tensor, start: int, stop: int
) -> tuple[Tensor, Tensor]:
    """Differentiate each row's cross-entropy to its target by the embeddings of positions ``start`` to ``stop``.

    Args:
        rows: ids of equal length [n, L].
        targets: label indices [n].

    Returns:
        label logits [n, labels] (float32) and gradients [n, stop - start, width of the embedding].
    """
    with torch.enable_grad(), _embeddings_as_leaves(model) as leaves:
        logits = head.logits(model, rows)
        loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        # A label of several tokens runs several forwards: each contributes to the same positions.
        grads = torch.autograd.grad(loss, leaves)
    return logits.detach(), torch.stack([grad[:, start:stop] for grad in grads]).sum(0)


class EmbeddingTable:
    """Embeddings of the allowed ids as the model sees them, scaled where it scales; the last selection is kept."""

    def __init__(self, model: Any) -> None:
        self._embed = model.get_input_embeddings()
        self._allowed: Tokens | None = None
        self._table: Tensor | None = None

    def of(self, allowed: Tokens) -> Tensor:
        """Table [A, width] of sorted ids [A]."""
        if self._table is None or self._allowed is None or not np.array_equal(self._allowed, allowed):
            with torch.inference_mode():
                ids = torch.as_tensor(allowed, device=self._embed.weight.device)
                self._table = self._embed(ids)
            self._allowed = allowed.copy()
        return self._table


def best_substitutions(values: Floats, allowed: Tokens, top: int) -> tuple[Tokens, Floats]:
    """The ``top`` most negative entries of each row, ties by token id; NaN comes last.

    Args:
        values: gradient entries [S, A] of the allowed ids, in their order.
        allowed: sorted ids [A].
        top: how many; cut to A.

    Returns:
        ids [S, top] and their values [S, top].
    """
    top = min(top, len(allowed))
    tokens = np.empty((len(values), top), dtype=np.int64)
    chosen = np.empty((len(values), top), dtype=np.float64)
    keys = np.where(np.isnan(values), np.inf, values)
    for i, row in enumerate(keys if top else ()):
        # Sorting only what is at most the top-th value keeps ties at the edge and stays linear in A.
        near = np.flatnonzero(row <= np.partition(row, top - 1)[top - 1])
        order = near[np.argsort(row[near], kind="stable")][:top]
        tokens[i], chosen[i] = allowed[order], values[i, order]
    return tokens, chosen


@contextmanager
def _embeddings_as_leaves(model: Any) -> Iterator[list[Tensor]]:
    """Within, what the input embedding returns is a leaf to differentiate by; the leaves are listed, one per forward.

    A hook rather than ``inputs_embeds``: the model pools by ids as always, and scales after the embedding are part of
    the graph.
    """
    leaves: list[Tensor] = []

    def hook(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_(True))
        return leaves[-1].view_as(leaves[-1])  # module hooks of profilers cannot stand a leaf as a module's input

    handle = model.get_input_embeddings().register_forward_hook(hook)
    try:
        yield leaves
    finally:
        handle.remove()
