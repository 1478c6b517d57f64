"""The loss that attacks lower."""

from __future__ import annotations

import numpy as np

from harness.api.model.backend import Target
from harness.api.model.mellowmax import Mellowmax
from harness.api.task import AnyBut
from harness.tokens.tokenizer import Floats


def loss_of(readings: Floats, target: Target, over: Mellowmax | None = None) -> Floats:
    """The loss in nats [...] of what a head reads [..., width]: see `harness.engine.torch.heads.Head.outputs`.

    Args:
        over: as in `harness.api.requests.Score`.
    """
    if isinstance(target, int):
        return cross_entropy(readings, target)
    return text_loss(readings, over)


def text_loss(log_probs: Floats, over: Mellowmax | None = None) -> Floats:
    """The loss [...] in nats of a text whose tokens have these log-probabilities [..., t].

    Args:
        over: as in `harness.api.requests.Score`.
    """
    losses: Floats = -log_probs.mean(axis=-1) if over is None else over.of(-log_probs)
    return losses


def label_loss(logits: Floats, goal: int | AnyBut) -> Floats:
    """−log of the probability of the label, or of all labels but one, in nats; shape [..., labels] to [...]."""
    if not isinstance(goal, AnyBut):
        return cross_entropy(logits, goal)
    others = np.delete(logits, goal.label, axis=-1)
    losses: Floats = _log_sum(logits) - _log_sum(others)
    return losses


def cross_entropy(logits: Floats, target: int) -> Floats:
    """−log softmax(logits)[target], in nats; shape [..., labels] to [...]."""
    losses: Floats = _log_sum(logits) - logits[..., target]
    return losses


def _log_sum(logits: Floats) -> Floats:
    """log Σ exp over the last axis."""
    top = logits.max(axis=-1, keepdims=True)
    found: Floats = top[..., 0] + np.log(np.exp(logits - top).sum(axis=-1))
    return found
