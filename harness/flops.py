"""Compute, in floating-point operations, under two conventions that are always recorded side by side.

`nominal`: 2·N per token forward and 4·N backward (2·N through weights that are not trained), N = all parameters of the
model as used (embeddings included), all tokens of each sequence, no padding, as if nothing were cached and attention
were free. Comparable between attacks, machines and implementations. Convention of "Scaling Trends in Language Model
Robustness" (arXiv 2407.18213), less its counting of padding; a gradient that an attack asks for counts 4·N as there.

`executed`: what was really run: matrix multiplications of linear layers, attention scores and values, heads; a multiply
and an add are two operations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

CONVENTION = "nominal-2N-4N-all-parameters-unpadded/executed-matmul-1"


@dataclass(frozen=True, slots=True)
class Flops:
    """An amount of compute. Adds and scales. NaN is "unknown", which a sum with it is as well; it is never zero."""

    nominal: float = 0.0
    executed: float = 0.0

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.nominal + other.nominal, self.executed + other.executed)

    def __mul__(self, factor: float) -> Flops:
        return Flops(self.nominal * factor, self.executed * factor)

    def to_json(self) -> dict[str, float | None]:
        """``{"nominal": …, "executed": …}``, null where unknown."""
        return {"nominal": known(self.nominal), "executed": known(self.executed)}

    @classmethod
    def from_json(cls, data: Mapping[str, float | None]) -> Flops:
        """Inverse of `to_json`."""
        nominal, executed = (UNKNOWN if (x := data[name]) is None else float(x) for name in ("nominal", "executed"))
        return cls(nominal, executed)


UNKNOWN = math.nan
"""An amount of compute that nobody knows: of a model behind a URL."""


def known(flops: float) -> float | None:
    """The amount, or None where it is unknown."""
    return None if math.isnan(flops) else flops


def nominal_forward(n_params: int | None, tokens: int) -> float:
    """Nominal compute of a forward pass over ``tokens`` tokens; `UNKNOWN` where the size is."""
    return UNKNOWN if n_params is None else 2.0 * n_params * tokens


def nominal_backward(n_params: int | None, tokens: int, trained: int | None = None) -> float:
    """Nominal compute of a backward pass over ``tokens`` tokens (the forward pass comes on top).

    Args:
        trained: of the parameters, how many get a gradient of their own: 2·N go through all of them, and 2 more for
            each of these. By default all.
    """
    through = nominal_forward(n_params, tokens)
    return through + (through if trained is None else nominal_forward(trained, tokens))
