"""From tensors to NumPy, and no NaN beyond that point."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.engine.torch.devices import precision_mend
from harness.errors import VictimError
from harness.tokens.tokenizer import Floats


def to_numpy(x: Tensor) -> Floats:
    """A tensor's values in float64, detached from any graph; of the same shape."""
    values: Floats = x.detach().to("cpu", torch.float64).numpy()
    return values


def without_nan(values: Floats, what: str, model: Any) -> Floats:
    """``values`` as they are.

    Args:
        what: begins the error, e.g. ``the model answered NaN``.
        model: that computed them, or the dtype that it computes in, which the fix depends on.

    Raises:
        VictimError: one of them is NaN.
    """
    if np.isnan(values).any():
        raise nan_error(what, model)
    return values


def nan_error(what: str, model: Any) -> VictimError:
    """That a model, or one of this dtype, computes NaN, with the fix."""
    dtype = getattr(model, "dtype", model)
    return VictimError(f"{what} in {str(dtype).removeprefix('torch.')}; {precision_mend(model)}")
