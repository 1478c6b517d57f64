"""How many steps the training attack runs, by absolute round."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from harness import Params


class StepSchedule(Params):
    """Steps of the training attack: from ``start`` in round 1 to ``end`` in round ``rounds``, linear, and ``end`` after
    that.
    """

    start: PositiveInt = Field(8, description="steps in round 1")
    end: PositiveInt = Field(64, description="steps from round `rounds` on")
    rounds: PositiveInt = Field(
        60, description="the absolute round at which the end is reached, whatever the number of rounds trained"
    )

    def steps(self, round: int) -> int:
        """Steps of the training attack in a round, counted from 1."""
        share = 1.0 if self.rounds == 1 else min(1.0, (round - 1) / (self.rounds - 1))
        return round_half_up(self.start + share * (self.end - self.start))


def round_half_up(value: float) -> int:
    """Nearest integer, halves upwards (Python's own rounding goes to even)."""
    return int(value + 0.5)
