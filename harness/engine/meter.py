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
