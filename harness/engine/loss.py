"""The loss that attacks lower."""

from __future__ import annotations

import numpy as np

from harness.tokens.text import Floats


def cross_entropy(logits: Floats, target: int) -> Floats:
    """−log softmax(logits)[target], in nats; shape [..., labels] to [...]."""
    top = logits.max(axis=-1, keepdims=True)
    losses: Floats = top[..., 0] + np.log(np.exp(logits - top).sum(axis=-1)) - logits[..., target]
    return losses
