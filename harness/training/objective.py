"""The loss of a padded batch, for each head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness.engine.heads import GenerationHead, Head, LabelTokensHead
from harness.training.rows import TrainRow


@dataclass(frozen=True, slots=True)
class Batch:
    """A right-padded batch.

    Attributes:
        ids, mask: shape [B, L].
        lengths: tokens of each row without padding.
        rows: what it was made of.
        labels: token ids of each row's label, of which all but the last follow the prompt in ``ids``; empty for other
            heads.
    """

    ids: Tensor
    mask: Tensor
    lengths: list[int]
    rows: list[TrainRow]
    labels: list[tuple[int, ...]]


def collate(rows: Sequence[TrainRow], head: Head, pad: int, device: torch.device) -> Batch:
    """Pad ``rows`` on the right; for label tokens the label's own tokens follow the prompt."""
    labels = [head.labels[row.label] for row in rows] if isinstance(head, LabelTokensHead) else []
    sequences = [(*row.ids, *label[:-1]) for row, label in zip(rows, labels or [()] * len(rows), strict=True)]
    lengths = [len(sequence) for sequence in sequences]
    # Models pool at the last token that is not padding: a row that really ends in the padding token needs another one.
    last = {sequence[-1] for sequence in sequences}
    if pad in last and not labels:
        pad = next(i for i in range(len(last) + 1) if i not in last)
    ids = torch.full((len(rows), max(lengths)), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence)] = torch.tensor(sequence)
        mask[i, : len(sequence)] = 1
    return Batch(ids.to(device), mask.to(device), lengths, list(rows), labels)


def batch_loss(model: Any, head: Head, batch: Batch) -> tuple[Tensor, int]:
    """Mean loss over the rows of ``batch`` in nats, and how many positions per row reached the output embedding.

    Classification: cross-entropy over labels. Label tokens: language-model loss on the label's tokens alone, summed
    over them. Generation: language-model loss on the tokens that are to be said, the mean over those of all rows, so
    that each token counts the same.
    """
    if isinstance(head, GenerationHead):
        return _next_tokens(model, head, batch)
    if not isinstance(head, LabelTokensHead):
        return _classification(model, head, batch), 0
    starts = [length - len(label) for length, label in zip(batch.lengths, batch.labels, strict=True)]
    wanted = [
        (i, start + j, token)
        for i, (start, label) in enumerate(zip(starts, batch.labels, strict=True))
        for j, token in enumerate(label)
    ]
    loss, positions = _said(model, head.trims, batch, wanted)
    return loss / len(batch.rows), positions


def _next_tokens(model: Any, head: GenerationHead, batch: Batch) -> tuple[Tensor, int]:
    """Mean over all tokens that are to be said, whichever row they are of."""
    wanted = [(i, place - 1, row.ids[place]) for i, row in enumerate(batch.rows) for place in row.says]
    loss, positions = _said(model, head.trims, batch, wanted)
    return loss / len(wanted), positions


def _said(model: Any, trims: bool, batch: Batch, wanted: list[tuple[int, int, int]]) -> tuple[Tensor, int]:
    """Summed language-model loss of (row, position, the token that follows it), and positions read per row."""
    positions = sorted({position for _, position, _ in wanted}) if trims else list(range(batch.ids.shape[1]))
    device = batch.ids.device
    trim = {"logits_to_keep": torch.tensor(positions, device=device)} if trims else {}
    logits = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False, **trim).logits.float()
    column = {position: at for at, position in enumerate(positions)}
    rows, columns, tokens = zip(*((i, column[p], token) for i, p, token in wanted), strict=True)
    picked = logits[list(rows), list(columns)]
    loss = cross_entropy(picked, torch.tensor(tokens, device=device), reduction="sum")
    return loss, len(positions)


def _classification(model: Any, head: Head, batch: Batch) -> Tensor:
    config = model.config.get_text_config()
    before = getattr(config, "pad_token_id", None)
    padded = batch.mask == 0
    # Tell the model which id this batch is padded with; -1 (no id) where nothing is.
    config.pad_token_id = int(batch.ids[padded][0]) if bool(padded.any()) else -1
    cache = {"use_cache": False} if getattr(model.config, "use_cache", None) is not None else {}
    try:
        logits = model(input_ids=batch.ids, attention_mask=batch.mask, **cache).logits.float()
    finally:
        config.pad_token_id = before
    order = getattr(head, "order", None)
    logits = logits if order is None else logits[:, order]
    targets = torch.tensor([row.label for row in batch.rows], device=batch.ids.device)
    return cross_entropy(logits, targets)
