"""The strength of a training attack, by absolute round."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from harness import Params


class Ramp(Params):
    """Steps of the training attack: from ``start`` in round 1 to ``end`` in round ``rounds``, linear, and ``end`` after
    that.
    """

    start: PositiveInt = 8
    end: PositiveInt = 64
    rounds: PositiveInt = Field(
        60, description="the absolute round at which the end is reached, whatever the number of rounds trained"
    )

    def steps(self, round: int) -> int:
        share = 1.0 if self.rounds == 1 else min(1.0, (round - 1) / (self.rounds - 1))
        return round_half_up(self.start + share * (self.end - self.start))


def round_half_up(value: float) -> int:
    """Nearest integer, halves upwards (Python's own rounding goes to even)."""
    return int(value + 0.5)
