"""Gradients of many examples in packed rows: what stands before the attack string is a constant that is remembered.

Only the attack string and what follows it run forward and backward. The string's keys and values are kept for the
scores that are asked for next, whose candidates derive from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.api.model.backend import GradientItem
from harness.engine.torch.gradients.embeddings import embeddings_as_leaves, summed_loss
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.scoring.head_reader import HeadForward
from harness.engine.torch.scoring.kv_cache import copy_tokens
from harness.engine.torch.scoring.packed.packed_forward import run_in_chunks, run_packed
from harness.engine.torch.scoring.packed.packed_pass import PackedPass
from harness.engine.torch.scoring.packed.reuse_plan import ReusePiece
from harness.engine.torch.scoring.packed.scorer import PackedScorer


@dataclass(frozen=True, slots=True)
class EmbeddingGradient:
    """Answer to a `GradientItem` before substitutions are chosen.

    Attributes:
        outputs: of the head, [width], float32.
        gradient: of the loss by the embeddings of the attack string, [S, width of the embedding].
        executed: FLOPs.
    """

    outputs: Tensor
    gradient: Tensor
    executed: float


def packed_gradients(scorer: PackedScorer, items: Sequence[GradientItem], chunker: Chunker) -> list[EmbeddingGradient]:
    """Differentiate each item's loss on packed rows.

    Args:
        items: within the context, ids valid, strings not empty.
        chunker: tokens per forward and backward.

    Raises:
        UnsupportedModelError: the model's attention asks for something that is not understood.
        VictimError: no memory for one row.
    """
    answers: dict[int, EmbeddingGradient] = {}
    with scorer.prepared():
        scorer.prefixes.forget_strings()
        pieces, prefix_flops = [], []
        for i, item in enumerate(items):
            prefix, cost = scorer.prefixes.compute(item.before) if len(item.before) else (None, 0.0)
            ids = np.concatenate([item.tokens, item.after])[None]
            pieces.append(ReusePiece(i, np.zeros(1, dtype=np.int64), len(item.before), ids, prefix))
            prefix_flops.append(cost)
        for forwards in scorer.reader.forwards(items):
            members = [piece for piece in pieces if piece.item in forwards[0].appended]
            members.sort(key=lambda piece: (-piece.ids.shape[1], piece.item))
            differentiate = _Differentiation(scorer, items, forwards).run
            for done, gradients in run_in_chunks(differentiate, members, chunker):
                for piece, (outputs, gradient) in zip(done, gradients, strict=True):
                    flops = sum(
                        scorer.flops.gradient(piece.followed_by(forward.appended[piece.item]), forward.read_last)
                        for forward in forwards
                    )
                    answers[piece.item] = EmbeddingGradient(outputs, gradient, prefix_flops[piece.item] + flops)
    return [answers[i] for i in range(len(items))]


@dataclass(frozen=True)
class _Differentiation:
    """Differentiates items whose outputs are read through the same forwards."""

    scorer: PackedScorer
    items: Sequence[GradientItem]
    forwards: Sequence[HeadForward]

    def run(self, pieces: list[ReusePiece]) -> list[tuple[Tensor, Tensor]]:
        """Outputs of the head [width] and gradients [S, width of the embedding] of some items, a row of each."""
        model, passes = self.scorer.model, []
        items = [self.items[piece.item] for piece in pieces]
        with torch.enable_grad(), embeddings_as_leaves(model) as leaves, self.scorer.flops.trim.trimmed():
            parts, columns = [], []
            for forward in self.forwards:
                ready = [piece.followed_by(forward.appended[piece.item]) for piece in pieces]
                part, packed = self._forward(forward, ready, keep_kv=forward is self.forwards[0])
                parts.append(part)
                columns += forward.columns
                passes.append((ready, packed))
            order = sorted(range(len(columns)), key=columns.__getitem__)
            outputs = torch.cat(parts, 1)[:, order]
            targets = torch.as_tensor([item.target for item in items], device=outputs.device)
            # A label of several tokens runs several forwards: each contributes to the same positions.
            grads = torch.autograd.grad(summed_loss(outputs, targets, [item.over for item in items]), leaves)
        self._keep_strings(*passes[0])
        sums: list[Any] = [0] * len(pieces)
        for (ready, _), grad in zip(passes, grads, strict=True):
            at = 0
            for i, (piece, item) in enumerate(zip(ready, items, strict=True)):
                sums[i] = sums[i] + grad[0, at : at + len(item.tokens)]
                at += piece.tokens
        return list(zip(outputs.detach(), sums, strict=True))

    def _forward(self, forward: HeadForward, ready: list[ReusePiece], keep_kv: bool) -> tuple[Tensor, PackedPass]:
        return run_packed(
            partial(self.scorer.reader.read, forward, ready),
            ready,
            self.scorer.device,
            keep_kv=keep_kv,
            differentiable=True,
            last_layer=self.scorer.flops.trim.layers - 1,
            read_last=forward.read_last,
        )

    def _keep_strings(self, pieces: list[ReusePiece], packed: PackedPass) -> None:
        """Hand the strings' keys and values to the scores that come next."""
        at = 0
        for piece in pieces:
            item = self.items[piece.item]
            kv = copy_tokens(packed.kv, slice(at, at + len(item.tokens)))
            self.scorer.prefixes.keep_string(item.before, item.tokens, kv)
            at += piece.tokens
