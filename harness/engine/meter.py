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
        defense: what guards, transforms and votes added to either.
        names: what the randomness of a defense depends on in this step; `next_names` gives each request its own.
        requests: how many have been given names.
    """

    queries: int = 0
    attack: Flops = field(default_factory=Flops)
    judge: Flops = field(default_factory=Flops)
    defense: Flops = field(default_factory=Flops)
    names: tuple[str | int, ...] = field(default=("unnamed",), compare=False)
    requests: int = field(default=0, compare=False)

    def add_cost(self, queries: int, attack: Flops, defense: Flops | None = None) -> None:
        """Add what a request of the attack took."""
        self.queries += queries
        self.attack += attack
        if defense is not None:
            self.defense += defense

    def for_request(self) -> StepMeter:
        """A meter for one request of this step, with names of its own."""
        return StepMeter(names=self.next_names())

    def next_names(self) -> tuple[str | int, ...]:
        """Names for the randomness of the next request."""
        self.requests += 1
        return (*self.names, "request", self.requests)

    def columns(self) -> dict[str, float]:
        """The columns of FLOPs of the step's row."""
        spent = {"attack": self.attack, "judge": self.judge, "defense": self.defense}
        return {f"{p}_nominal": f.nominal for p, f in spent.items()} | {
            f"{p}_executed": f.executed for p, f in spent.items()
        }
