"""Compute, in floating-point operations, under two conventions that are always recorded side by side.

`nominal`: 2·N per token forward and 4·N backward, N = all parameters of the model as used (embeddings included), all
tokens of each sequence, no padding, as if nothing were cached and attention were free. Comparable between attacks,
machines and implementations. Convention of "Scaling Trends in Language Model Robustness" (arXiv 2407.18213), less its
counting of padding.

`executed`: what was really run: matrix multiplications of linear layers, attention scores and values, heads; a multiply
and an add are two operations.
"""

from __future__ import annotations

from dataclasses import dataclass

CONVENTION = "nominal-2N-4N-all-parameters-unpadded/executed-matmul-1"


@dataclass(frozen=True, slots=True)
class Flops:
    """An amount of compute. Adds and scales."""

    nominal: float = 0.0
    executed: float = 0.0

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.nominal + other.nominal, self.executed + other.executed)

    def __mul__(self, factor: float) -> Flops:
        return Flops(self.nominal * factor, self.executed * factor)

    def to_json(self) -> dict[str, float]:
        """``{"nominal": …, "executed": …}``."""
        return {"nominal": self.nominal, "executed": self.executed}

    @classmethod
    def from_json(cls, data: dict[str, float]) -> Flops:
        """Inverse of `to_json`."""
        return cls(float(data["nominal"]), float(data["executed"]))


def nominal_forward(n_params: int, tokens: int) -> float:
    """Nominal compute of a forward pass over ``tokens`` tokens."""
    return 2.0 * n_params * tokens


def nominal_backward(n_params: int, tokens: int) -> float:
    """Nominal compute of a backward pass over ``tokens`` tokens (the forward pass comes on top)."""
    return 4.0 * n_params * tokens
