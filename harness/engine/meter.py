"""Compute of one step of one example, split by who asked for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.flops import Flops


@dataclass
class StepMeter:
    """Adds up what a step costs.

    Attributes:
        queries: sequences that the attack had scored, differentiated, continued or answered.
        attack: the attack's own requests, answered by the victim.
        judge: the harness's verdict on the step's string.
        defense: what guards and transforms added to either.
    """

    queries: int = 0
    attack: Flops = field(default_factory=Flops)
    judge: Flops = field(default_factory=Flops)
    defense: Flops = field(default_factory=Flops)

    def columns(self) -> dict[str, float]:
        """The columns of FLOPs of the step's row."""
        spent = {"attack": self.attack, "judge": self.judge, "defense": self.defense}
        return {f"{p}_nominal": f.nominal for p, f in spent.items()} | {
            f"{p}_executed": f.executed for p, f in spent.items()
        }
