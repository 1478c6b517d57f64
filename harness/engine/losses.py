"""The loss that attacks lower."""

from __future__ import annotations

import numpy as np

from harness.api.model.backend import Target
from harness.tokens.tokenizer import Floats


def loss_of(readings: Floats, target: Target) -> Floats:
    """The loss in nats [...] of what a head reads [..., width]: see `harness.engine.torch.heads.Head.outputs`."""
    if isinstance(target, int):
        return cross_entropy(readings, target)
    losses: Floats = -readings.mean(axis=-1)
    return losses


def cross_entropy(logits: Floats, target: int) -> Floats:
    """−log softmax(logits)[target], in nats; shape [..., labels] to [...]."""
    top = logits.max(axis=-1, keepdims=True)
    losses: Floats = top[..., 0] + np.log(np.exp(logits - top).sum(axis=-1)) - logits[..., target]
    return losses
