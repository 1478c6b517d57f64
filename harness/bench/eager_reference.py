"""Losses by the model's plain eager forward, row by row of equal length: what every path is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from harness.api.model.backend import ScoreItem
from harness.bench.model import BenchModel
from harness.engine.losses import loss_of
from harness.engine.torch.heads import make_head
from harness.engine.torch.scoring.scorer_check import whole_rows
from harness.engine.torch.self_check.backend_check import switch_attention
from harness.tokens.tokenizer import Floats

COMPARED = 64  # candidates at most, all examples together
_ROWS = 8  # per forward


def eager_losses(subject: BenchModel, items: Sequence[ScoreItem]) -> list[Floats]:
    """Losses [k] of the first candidates of each item; k is `compared`."""
    count = compared(items)
    head = make_head(subject.head, subject.model, subject.tokenizer, ())
    asked = str(subject.model.config._attn_implementation)
    switch_attention(subject.model, "eager")  # where there is no eager attention, what is there must do
    try:
        found = []
        for item in items:
            rows = torch.as_tensor(whole_rows(item)[:count]).to(subject.device)
            wanted = torch.as_tensor([item.target] * len(rows)).to(subject.device)
            with torch.inference_mode():
                read = [
                    head.readings(subject.model, rows[at : at + _ROWS], wanted[at : at + _ROWS])
                    for at in range(0, len(rows), _ROWS)
                ]
            losses = loss_of(torch.cat(read).to("cpu", torch.float64).numpy(), item.target)
            found.append(np.asarray(losses))
        return found
    finally:
        switch_attention(subject.model, asked)


def compared(items: Sequence[ScoreItem]) -> int:
    """How many candidates of each item are compared."""
    return max(1, COMPARED // len(items))
