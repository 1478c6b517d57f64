"""One forward over a packed row ``[1, N]``: pieces of several examples one after another, no padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.engine.torch.memory.chunks import Chunker, no_room
from harness.engine.torch.scoring.packed.packed_pass import PackedPass, active
from harness.engine.torch.scoring.packed.reuse_plan import ReusePiece

Call = Callable[[Tensor, Tensor, Tensor], Tensor]


def forward(
    call: Call,
    pieces: Sequence[ReusePiece],
    device: torch.device,
    *,
    capture: bool = False,
    grad: bool = False,
    final: int | None = None,
    keep: int = 1,
) -> tuple[Tensor, PackedPass]:
    """Run ``call(ids [1, N], positions [1, N], tokens that are read [n * keep])`` over some pieces.

    Args:
        capture, grad, final, keep: as in `PackedPass`.

    Returns:
        what ``call`` gives, and the pass with keys and values if they were to be kept.
    """
    ids = np.concatenate([piece.ids.ravel() for piece in pieces])
    lengths = np.concatenate([np.full(len(piece.ids), piece.ids.shape[1]) for piece in pieces])
    cuts = np.concatenate([np.full(len(piece.ids), piece.cut) for piece in pieces])
    ends = np.cumsum(lengths)
    positions = np.arange(len(ids)) - np.repeat(ends - lengths - cuts, lengths)
    read = ends[:, None] - np.arange(keep, 0, -1)
    inputs = [torch.as_tensor(x).to(device) for x in (ids[None], positions[None], read.ravel())]
    own = [(sum(len(p.ids) for p in run), length) for length, run in groupby(pieces, lambda p: p.ids.shape[1])]
    behind = [(*piece.ids.shape, piece.prefix if piece.cut else None, piece.cut) for piece in pieces]
    longest = max(piece.cut + piece.ids.shape[1] for piece in pieces)
    this = PackedPass(own, behind, inputs[2], longest, keep, capture, grad, final)
    # What is kept may meet a forward that is differentiated, which tensors made in inference mode cannot.
    mode = torch.enable_grad() if grad else torch.no_grad() if capture else torch.inference_mode()
    with mode, active(this):
        return call(*inputs), this


def batches(
    run: Callable[[list[ReusePiece]], Any], pieces: Sequence[ReusePiece], chunker: Chunker, rows: int
) -> Iterator[tuple[list[ReusePiece], Any]]:
    """Yield (pieces, ``run(pieces)``) until all are done, at most ``chunker.tokens`` tokens and ``rows`` rows at once.

    Raises:
        VictimError: memory runs out on a single row.
    """
    waiting = list(reversed(pieces))
    while waiting:
        taken = _take(waiting, chunker.tokens, rows)
        answer = chunker.attempt(partial(run, taken))
        if answer is not None:
            yield taken, answer[0]
            continue
        if sum(len(piece.ids) for piece in taken) == 1:
            raise no_room(taken[0].cut + taken[0].tokens)
        chunker.halve(sum(piece.tokens for piece in taken))
        waiting.extend(reversed(taken))


def _take(waiting: list[ReusePiece], tokens: int, rows: int) -> list[ReusePiece]:
    taken: list[ReusePiece] = []
    while waiting:
        piece = waiting.pop()
        fits = max(0 if taken else 1, min(rows, tokens // piece.ids.shape[1]))
        if fits < len(piece.ids):
            if fits:
                piece, rest = piece.split(fits)
                taken.append(piece)
                waiting.append(rest)
            else:
                waiting.append(piece)
            break
        taken.append(piece)
        tokens -= piece.tokens
        rows -= len(piece.ids)
    return taken
