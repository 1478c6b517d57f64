"""From tensors to NumPy, and no NaN beyond that point."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.errors import VictimError
from harness.tokens.tokenizer import Floats


def to_numpy(x: Tensor) -> Floats:
    """A tensor's values in float64, detached from any graph; of the same shape."""
    values: Floats = x.detach().to("cpu", torch.float64).numpy()
    return values


def without_nan(values: Floats, message: str) -> Floats:
    """``values`` as they are; raises VictimError with ``message`` where one of them is NaN."""
    if np.isnan(values).any():
        raise VictimError(message)
    return values
