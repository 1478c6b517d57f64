"""In which order rows are seen: shuffled, but with rows of similar length in one batch, so that little is padded."""

from __future__ import annotations

from collections.abc import Sequence

from harness.rng import named_rng

WINDOW = 16  # batches whose rows are sorted by length together: padding falls, order stays close to random


def epoch_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of each batch of one epoch; depends on the arguments alone.

    Every row is in exactly one batch; all batches but one per epoch are full.
    """
    rng = named_rng(seed, "training order", epoch)
    order = [int(i) for i in rng.permutation(len(lengths))]
    batches: list[list[int]] = []
    for start in range(0, len(order), batch_size * WINDOW):
        window = sorted(order[start : start + batch_size * WINDOW], key=lambda i: lengths[i])
        batches += [window[at : at + batch_size] for at in range(0, len(window), batch_size)]
    return [batches[int(i)] for i in rng.permutation(len(batches))]
