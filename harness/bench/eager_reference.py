"""Losses by the model's plain eager forward, row by row of equal length: what every path is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from harness.api.model.backend import ScoreItem
from harness.bench.model import BenchModel
from harness.engine.losses import loss_of
from harness.engine.torch.arrays import to_numpy
from harness.engine.torch.attention_switch import EAGER, attention_switched
from harness.engine.torch.heads import make_head
from harness.engine.torch.token_rows import whole_rows
from harness.tokens.tokenizer import Floats

_COMPARED = 64  # candidates at most, all examples together
_ROWS = 8  # per forward


def reference_losses(model: BenchModel, items: Sequence[ScoreItem]) -> list[Floats]:
    """Losses [k] in nats of the first candidates of each item; k is `compared_candidates`."""
    count = compared_candidates(items)
    head = make_head(model.head, model.model, model.tokenizer, ())
    losses = []
    with attention_switched(model.model, EAGER), torch.inference_mode():
        for item in items:
            rows = torch.as_tensor(whole_rows(item)[:count]).to(model.device)
            targets = torch.as_tensor([item.target] * len(rows)).to(model.device)
            outputs = [
                head.outputs(model.model, rows[at : at + _ROWS], targets[at : at + _ROWS])
                for at in range(0, len(rows), _ROWS)
            ]
            losses.append(np.asarray(loss_of(to_numpy(torch.cat(outputs)), item.target)))
    return losses


def compared_candidates(items: Sequence[ScoreItem]) -> int:
    """How many candidates of each item are compared."""
    return max(1, _COMPARED // len(items))
