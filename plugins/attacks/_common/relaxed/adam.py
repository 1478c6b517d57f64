"""Adam on an array that a search keeps in its state (Kingma and Ba 2015, arXiv 1412.6980)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness import Floats
from plugins.attacks._common.stored_array import decode_array, encode_array

_FIRST, _SECOND, _UPDATES = "first_moment", "second_moment", "updates"  # keys of a state's memory
DECAY, SQUARED_DECAY, SMALL = 0.9, 0.999, 1e-8  # torch's defaults


@dataclass
class Adam:
    """Running means of gradients and of their squares.

    Attributes:
        rate: learning rate.
        first, second: the means, in the gradient's shape, not corrected for their beginning at 0.
        updates: how many gradients they are of.
    """

    rate: float
    first: Floats
    second: Floats
    updates: int = 0

    def step(self, gradient: Floats) -> Floats:
        """What to take off the parameters after one more gradient."""
        self.updates += 1
        self.first = DECAY * self.first + (1 - DECAY) * gradient
        self.second = SQUARED_DECAY * self.second + (1 - SQUARED_DECAY) * np.square(gradient)
        mean = self.first / (1 - DECAY**self.updates)
        spread = np.sqrt(self.second / (1 - SQUARED_DECAY**self.updates))
        found: Floats = self.rate * mean / (spread + SMALL)
        return found

    def to_json(self) -> dict[str, Any]:
        """JSON data from which `from_json` makes the same, rounded to float32."""
        return {_FIRST: encode_array(self.first), _SECOND: encode_array(self.second), _UPDATES: self.updates}

    @classmethod
    def from_json(cls, memory: Mapping[str, Any], shape: tuple[int, ...], rate: float) -> Adam:
        """From a state's memory; from one without it, before the first gradient."""
        if _UPDATES not in memory:
            return cls(rate, np.zeros(shape), np.zeros(shape))
        first, second = (decode_array(memory[name], shape).astype(np.float64) for name in (_FIRST, _SECOND))
        return cls(rate, first, second, int(memory[_UPDATES]))
