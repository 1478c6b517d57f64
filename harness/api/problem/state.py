"""Where an attack stands between two steps: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.api.problem.latent import Latent
from harness.tokens.tokenizer import Floats, Tokens


@dataclass(frozen=True, slots=True)
class State:
    """Where an attack stands after a step: plain data, so a run can stop and go on between any two steps.

    Attributes:
        tokens: the attack string to be judged, as a tuple of token ids.
        loss: the loss the attack knows for it, or None when it was never scored.
        memory: anything else the attack wants to keep, as JSON data.
        latent: the perturbation to be judged with the string; None: the string alone.
        earlier: what the attacker says in the turns of the conversation before the one with the string, oldest first.
            For a verdict the victim is asked them again, so that the answers in it are its own.
    """

    tokens: tuple[int, ...]
    loss: float | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    latent: Latent | None = None
    earlier: tuple[str, ...] = ()

    @property
    def array(self) -> Tokens:
        """The attack string, shape [S]."""
        return np.asarray(self.tokens, dtype=np.int64)

    def best(self, candidates: Tokens, losses: Floats) -> State:
        """The candidate with the lowest loss, or this state if none is lower: best so far. Ties go to the earlier; NaN
        never wins. Behind a defense that draws at random the lowest loss is that of a lucky draw: see
        docs/what_attacks_hear.md.
        """
        new = self.latest(candidates, losses)
        if new is self or new.loss is None:
            return self
        known = self.loss is not None and bool(np.isfinite(self.loss))
        return self if known and not new.loss < self.loss else new  # type: ignore[operator]

    def latest(self, candidates: Tokens, losses: Floats) -> State:
        """The candidate with the lowest loss of this step, even when it is worse than this state. Unchanged if there is
        no finite loss.
        """
        finite = np.where(np.isfinite(losses), losses, np.inf)
        if len(finite) == 0 or not np.isfinite(finite.min()):
            return self
        at = int(finite.argmin())
        return replace(self, tokens=tuple(int(t) for t in candidates[at]), loss=float(finite[at]))

    def to_json(self) -> dict[str, Any]:
        """JSON data from which `from_json` makes the same state."""
        plain: dict[str, Any] = {"tokens": list(self.tokens), "loss": self.loss, "memory": self.memory}
        plain |= {"earlier": list(self.earlier)} if self.earlier else {}
        return plain if self.latent is None else plain | {"latent": self.latent.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> State:
        """Inverse of `to_json`."""
        latent = Latent.from_json(data["latent"]) if "latent" in data else None
        return cls(tuple(data["tokens"]), data["loss"], data["memory"], latent, tuple(data.get("earlier", ())))
