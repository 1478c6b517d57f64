"""Forwards over a packed row ``[1, N]``: pieces of several examples one after another, no padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from harness.engine.torch.memory.chunks import Chunker, out_of_memory
from harness.engine.torch.scoring.packed.packed_pass import PackedPass, PrefixGroup, RowGroup, running
from harness.engine.torch.scoring.packed.reuse_plan import ReusePiece

T = TypeVar("T")
RunModel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Called with ids [1, N], positions [1, N], and the indices of the tokens that are read [rows * read_last]."""


def run_packed(
    run_model: RunModel,
    pieces: Sequence[ReusePiece],
    device: torch.device,
    *,
    keep_kv: bool = False,
    differentiable: bool = False,
    last_layer: int | None = None,
    read_last: int = 1,
) -> tuple[Tensor, PackedPass]:
    """Run some pieces in one forward.

    Args:
        keep_kv, differentiable, last_layer, read_last: as in `PackedPass`.

    Returns:
        what ``run_model`` gives, and the pass with keys and values if they were to be kept.
    """
    ids = np.concatenate([piece.ids.ravel() for piece in pieces])
    lengths = np.concatenate([np.full(len(piece.ids), piece.ids.shape[1]) for piece in pieces])
    starts = np.concatenate([np.full(len(piece.ids), piece.start) for piece in pieces])
    ends = np.cumsum(lengths)
    positions = np.arange(len(ids)) - np.repeat(ends - lengths - starts, lengths)
    read_at = ends[:, None] - np.arange(read_last, 0, -1)
    inputs = [torch.as_tensor(x).to(device) for x in (ids[None], positions[None], read_at.ravel())]
    packed = PackedPass(
        [RowGroup(sum(len(p.ids) for p in run), length) for length, run in groupby(pieces, lambda p: p.ids.shape[1])],
        [PrefixGroup(len(p.ids), p.ids.shape[1], p.prefix if p.start else None, p.start) for p in pieces],
        inputs[2],
        max(piece.start + piece.ids.shape[1] for piece in pieces),
        read_last,
        keep_kv,
        differentiable,
        last_layer,
    )
    # What is kept may meet a forward that is differentiated, which tensors made in inference mode cannot.
    mode = torch.enable_grad() if differentiable else torch.no_grad() if keep_kv else torch.inference_mode()
    with mode, running(packed):
        return run_model(*inputs), packed


def run_in_chunks(
    run: Callable[[list[ReusePiece]], T], pieces: Sequence[ReusePiece], chunker: Chunker
) -> Iterator[tuple[list[ReusePiece], T]]:
    """Yield (pieces, ``run(pieces)``) until all are done, at most ``chunker.tokens`` tokens at once; a piece may be
    split.

    Raises:
        VictimError: memory runs out on a single row.
    """
    waiting = list(reversed(pieces))
    while waiting:
        chunk = _take_chunk(waiting, chunker.tokens)
        answer = chunker.attempt(partial(run, chunk))
        if answer is not None:
            yield chunk, answer[0]
            continue
        if sum(len(piece.ids) for piece in chunk) == 1:
            raise out_of_memory(chunk[0].start + chunk[0].tokens)
        chunker.halve(sum(piece.tokens for piece in chunk))
        waiting.extend(reversed(chunk))


def _take_chunk(waiting: list[ReusePiece], tokens: int) -> list[ReusePiece]:
    """Take pieces off the end of ``waiting`` as far as they fit, at least one row."""
    chunk: list[ReusePiece] = []
    while waiting:
        piece = waiting.pop()
        fits = max(0 if chunk else 1, tokens // piece.ids.shape[1])
        if fits < len(piece.ids):
            if fits:
                piece, rest = piece.split(fits)
                chunk.append(piece)
                waiting.append(rest)
            else:
                waiting.append(piece)
            break
        chunk.append(piece)
        tokens -= piece.tokens
    return chunk
