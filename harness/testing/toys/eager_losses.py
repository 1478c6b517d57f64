"""Losses by the plainest way there is: one row, one forward, eager attention. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from harness.engine.torch.heads import HeadName
from harness.engine.torch.loading import load_model
from harness.tokens.tokenizer import Target, Tokens


def eager_losses(folder: Path, head: HeadName, rows: Sequence[Tokens], target: Target) -> list[float]:
    """The loss of each whole row, in nats, of the model in a folder, in float32.

    Args:
        head: ``classification`` or ``generation``.
        target: a label's index, or the ids of a text.
    """
    model, _ = load_model(folder, head, dtype=torch.float32)
    model.set_attn_implementation("eager")
    model.eval()
    return [_loss(model, row, target) for row in rows]


def _loss(model: torch.nn.Module, row: Tokens, target: Target) -> float:
    if isinstance(target, int):
        with torch.no_grad():
            logits = model(input_ids=torch.as_tensor(row)[None]).logits[0]
        return float(torch.nn.functional.cross_entropy(logits[None].double(), torch.tensor([target])))
    whole = torch.cat([torch.as_tensor(row), torch.tensor(target[:-1], dtype=torch.long)])
    with torch.no_grad():
        logits = model(input_ids=whole[None]).logits[0, len(row) - 1 :]
    return float(torch.nn.functional.cross_entropy(logits.double(), torch.tensor(target)))
