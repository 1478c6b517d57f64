"""The loss of a batch in one call."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from harness.engine.torch.heads import Head
from harness.training.objective import Batch, forward_batch, mean_loss


def batch_loss(model: Any, head: Head, batch: Batch) -> tuple[Tensor, int]:
    """Mean loss over the rows in nats, and how many positions per row reached the output embedding."""
    output = forward_batch(model, head, batch)
    return mean_loss(head, output), output.outputs
