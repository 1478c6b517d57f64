"""Gradients of many examples in packed rows: what stands before the attack string is a constant that is remembered.

Only the attack string and what follows it run forward and backward. The string's keys and values are kept for the
scores that are asked for next, whose candidates derive from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.api.model.backend import GradientItem
from harness.engine.torch.gradients.embeddings import embeddings_as_leaves, summed_loss
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.scoring.head_reader import End
from harness.engine.torch.scoring.kv_cache import cut_out
from harness.engine.torch.scoring.packed.forward import batches, forward
from harness.engine.torch.scoring.packed.packed_pass import PackedPass
from harness.engine.torch.scoring.packed.reuse_plan import ReusePiece
from harness.engine.torch.scoring.packed.scorer import PackedScorer


@dataclass(frozen=True, slots=True)
class PackedGradient:
    """Answer to a `GradientItem` before substitutions are chosen.

    Attributes:
        readings: of the head, [width], float32.
        gradient: of the loss by the embeddings of the attack string, [S, width].
        executed: FLOPs.
    """

    readings: Tensor
    gradient: Tensor
    executed: float


def differentiate(packing: PackedScorer, items: Sequence[GradientItem], chunker: Chunker) -> list[PackedGradient]:
    """Differentiate each item's loss.

    Args:
        items: within the context, ids valid, strings not empty.
        chunker: tokens per forward and backward.

    Raises:
        UnfitError: the model's attention asks for something that is not understood.
        VictimError: no memory for one row.
    """
    found: dict[int, PackedGradient] = {}
    with packing.switched():
        packing.prefixes.forget_strings()
        pieces, spent = [], []
        for i, item in enumerate(items):
            prefix, cost = packing.prefixes.compute(item.before) if len(item.before) else (None, 0.0)
            ids = np.concatenate([item.tokens, item.after])[None]
            pieces.append(ReusePiece(i, np.zeros(1, dtype=np.int64), len(item.before), ids, prefix))
            spent.append(cost)
        for ends in packing.reader.ends(items):
            own = [piece for piece in pieces if piece.item in ends[0].appended]
            own.sort(key=lambda piece: (-piece.ids.shape[1], piece.item))
            batch = _Batch(packing, items, ends)
            for done, slopes in batches(batch.run, own, chunker, 1 << 30):
                for piece, (readings, gradient) in zip(done, slopes, strict=True):
                    flops = sum(
                        packing.costs.gradient(piece.followed_by(end.appended[piece.item]), end.keep) for end in ends
                    )
                    found[piece.item] = PackedGradient(readings, gradient, spent[piece.item] + flops)
    return [found[i] for i in range(len(items))]


@dataclass(frozen=True)
class _Batch:
    """Items that are read in the same way."""

    packing: PackedScorer
    items: Sequence[GradientItem]
    ends: Sequence[End]

    def run(self, pieces: list[ReusePiece]) -> list[tuple[Tensor, Tensor]]:
        """Readings and gradients of some of them."""
        model, passes = self.packing.model, []
        items = [self.items[piece.item] for piece in pieces]
        with torch.enable_grad(), embeddings_as_leaves(model) as leaves, self.packing.costs.tail.trimmed():
            parts, columns = [], []
            for end in self.ends:
                ready = [piece.followed_by(end.appended[piece.item]) for piece in pieces]
                part, this = self._forward(end, ready, capture=end is self.ends[0])
                parts.append(part)
                columns += end.columns
                passes.append((ready, this))
            order = sorted(range(len(columns)), key=columns.__getitem__)
            readings = torch.cat(parts, 1)[:, order]
            targets = torch.as_tensor([item.target for item in items], device=readings.device)
            # A label of several tokens runs several forwards: each contributes to the same positions.
            grads = torch.autograd.grad(summed_loss(readings, targets), leaves)
        self._keep(*passes[0])
        sums: list[Any] = [0] * len(pieces)
        for (ready, _), grad in zip(passes, grads, strict=True):
            at = 0
            for place, (piece, item) in enumerate(zip(ready, items, strict=True)):
                sums[place] = sums[place] + grad[0, at : at + len(item.tokens)]
                at += piece.tokens
        return list(zip(readings.detach(), sums, strict=True))

    def _forward(self, end: End, ready: list[ReusePiece], capture: bool) -> tuple[Tensor, PackedPass]:
        def call(ids: Tensor, positions: Tensor, read: Tensor) -> Tensor:
            return self.packing.reader.read(end, ready, ids, positions, read)

        final = self.packing.costs.tail.layers - 1
        return forward(call, ready, self.packing.device, capture=capture, grad=True, final=final, keep=end.keep)

    def _keep(self, pieces: list[ReusePiece], this: PackedPass) -> None:
        """Hand the strings' keys and values to the scores that come next."""
        at = 0
        for piece in pieces:
            item = self.items[piece.item]
            tokens = slice(at, at + len(item.tokens))
            self.packing.prefixes.keep_string(item.before, item.tokens, cut_out(this.kept, tokens))
            at += piece.tokens
