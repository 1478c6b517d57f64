"""From tensors to NumPy, and no NaN beyond that point."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.engine.torch.devices import float32_mend
from harness.errors import VictimError
from harness.tokens.tokenizer import Floats


def to_numpy(x: Tensor) -> Floats:
    """A tensor's values in float64, detached from any graph; of the same shape."""
    values: Floats = x.detach().to("cpu", torch.float64).numpy()
    return values


def without_nan(values: Floats, what: str, dtype: torch.dtype | str) -> Floats:
    """``values`` as they are.

    Args:
        what: begins the error, e.g. ``the model answered NaN``.
        dtype: that the model computes in, which the mend depends on.

    Raises:
        VictimError: one of them is NaN.
    """
    if np.isnan(values).any():
        raise nan_error(what, dtype)
    return values


def nan_error(what: str, dtype: torch.dtype | str) -> VictimError:
    """That a model computes NaN, with the mend."""
    return VictimError(f"{what} in {str(dtype).removeprefix('torch.')}; {float32_mend(dtype)}")
