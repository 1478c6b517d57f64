"""The loss of a padded batch, for each head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from harness.api.training import TrainRow
from harness.engine.torch.heads import GenerationHead, Head, LabelTokensHead


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


def collate(rows: Sequence[TrainRow], head: Head | None, pad: int, device: torch.device) -> Batch:
    """Pad ``rows`` on the right; for label tokens the label's own tokens follow the prompt."""
    labels = [head.labels[row.label] for row in rows] if isinstance(head, LabelTokensHead) else []
    sequences = [(*row.ids, *label[:-1]) for row, label in zip(rows, labels or [()] * len(rows), strict=True)]
    lengths = [len(sequence) for sequence in sequences]
    # Models pool at the last token that is not padding: a row that really ends in the padding token needs another one.
    last = {sequence[-1] for sequence in sequences}
    if pad in last and not labels:
        pad = next(i for i in range(len(last) + 1) if i not in last)
    ids = pad_sequence([torch.tensor(sequence) for sequence in sequences], batch_first=True, padding_value=pad)
    mask = (torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]).long()
    return Batch(ids.to(device), mask.to(device), lengths, list(rows), labels)


@dataclass(frozen=True, slots=True)
class BatchOutput:
    """A model's answers to a batch, at the places where they are learnt.

    Attributes:
        logits: float32; of the labels [B, labels], or of the next tokens [n, vocabulary], row after row.
        targets: the right label [B] or token [n].
        counts: how many places each row has; 1 of a label.
        outputs: how many positions per row reached the output embedding.
        states: last hidden state of each row where its answer begins, float32, [B, H]; None where it was not asked for.
    """

    logits: Tensor
    targets: Tensor
    counts: list[int]
    outputs: int
    states: Tensor | None = None


def mean_loss(head: Head, output: BatchOutput) -> Tensor:
    """Mean loss over the rows in nats.

    Classification: cross-entropy over labels. Label tokens: language-model loss on the label's tokens alone, summed
    over them. Generation: language-model loss on the tokens that are to be generated, the mean over those of all rows,
    so that each token counts the same.
    """
    if isinstance(head, LabelTokensHead):
        return cross_entropy(output.logits, output.targets, reduction="sum") / len(output.counts)
    return cross_entropy(output.logits, output.targets)


def forward_batch(model: Any, head: Head, batch: Batch, *, states: bool = False) -> BatchOutput:
    """One forward of ``batch``; its last hidden states are kept if asked for."""
    if isinstance(head, GenerationHead):
        wanted = [(i, place - 1, row.ids[place]) for i, row in enumerate(batch.rows) for place in row.says]
        return _token_output(model, head.trims, batch, wanted, states)
    if not isinstance(head, LabelTokensHead):
        return _label_output(model, head, batch, states)
    starts = [length - len(label) for length, label in zip(batch.lengths, batch.labels, strict=True)]
    wanted = [
        (i, start + j, token)
        for i, (start, label) in enumerate(zip(starts, batch.labels, strict=True))
        for j, token in enumerate(label)
    ]
    return _token_output(model, head.trims, batch, wanted, states)


def _token_output(
    model: Any, trims: bool, batch: Batch, wanted: list[tuple[int, int, int]], states: bool
) -> BatchOutput:
    """The logits at each (row, position) wanted, and the token that is to follow there; in order of rows."""
    positions = sorted({position for _, position, _ in wanted}) if trims else list(range(batch.ids.shape[1]))
    device = batch.ids.device
    options: dict[str, Any] = {"logits_to_keep": torch.tensor(positions, device=device)} if trims else {}
    options |= {"output_hidden_states": True} if states else {}
    output = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False, **options)
    column = {position: at for at, position in enumerate(positions)}
    rows, columns, tokens = zip(*((i, column[p], token) for i, p, token in wanted), strict=True)
    firsts = {i: position for i, position, _ in reversed(wanted)}
    return BatchOutput(
        output.logits.float()[list(rows), list(columns)],
        torch.tensor(tokens, device=device),
        [rows.count(i) for i in range(len(batch.rows))],
        len(positions),
        _states(output, [firsts[i] for i in range(len(batch.rows))]) if states else None,
    )


def _label_output(model: Any, head: Head, batch: Batch, states: bool) -> BatchOutput:
    config = model.config.get_text_config()
    before = getattr(config, "pad_token_id", None)
    padded = batch.mask == 0
    # Tell the model which id this batch is padded with; -1 (no id) where nothing is.
    config.pad_token_id = int(batch.ids[padded][0]) if bool(padded.any()) else -1
    options = {"use_cache": False} if getattr(model.config, "use_cache", None) is not None else {}
    options |= {"output_hidden_states": True} if states else {}
    try:
        output = model(input_ids=batch.ids, attention_mask=batch.mask, **options)
    finally:
        config.pad_token_id = before
    order = getattr(head, "order", None)
    logits = output.logits.float()
    return BatchOutput(
        logits if order is None else logits[:, order],
        torch.tensor([row.label for row in batch.rows], device=batch.ids.device),
        [1] * len(batch.rows),
        0,
        _states(output, [length - 1 for length in batch.lengths]) if states else None,
    )


def _states(output: Any, places: list[int]) -> Tensor:
    """Last hidden state of each row at a place, [B, H]."""
    last: Tensor = output.hidden_states[-1].float()
    return last[list(range(len(places))), places]
