"""What the defenses that train have in common: rounds, which of them are attacked, and a budget."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from harness import Threat, TrainedDefense


class InRounds(TrainedDefense):
    """A defense that trains round by round; subclasses say what a round is."""

    class Params(TrainedDefense.Params):
        """Rounds, and what is left out of the identity of a round: it does not change its weights."""

        rounds: PositiveInt = Field(8, description="how many rounds to train, at most")
        budget: PositiveFloat | None = Field(
            None,
            allow_inf_nan=False,
            description="nominal FLOPs of all rounds together: once spent, no further round begins; none: no limit",
        )
        evaluate: Literal["all", "last"] | tuple[PositiveInt, ...] = Field(
            "all", description="rounds whose checkpoint is attacked, one cell each"
        )

        @model_validator(mode="after")
        def _known_rounds(self) -> Self:
            if isinstance(self.evaluate, tuple) and (not self.evaluate or max(self.evaluate) > self.rounds):
                raise ValueError(f"evaluate: name rounds from 1 to {self.rounds}")
            return self

    params: Params
    shared = frozenset({"rounds", "budget", "evaluate", "threat"})

    def rounds(self) -> int:
        return self.params.rounds

    def budget(self) -> float | None:
        return self.params.budget

    def evaluated(self) -> tuple[int, ...]:
        choice = self.params.evaluate
        if choice == "all":
            return tuple(range(1, self.params.rounds + 1))
        return (self.params.rounds,) if choice == "last" else tuple(sorted(set(choice)))

    def settles(self, round: int) -> bool:
        return self.params.evaluate == "last"

    def against(self, threat: Threat) -> Threat:
        own: Threat | None = getattr(self.params, "threat", None)
        return (own or threat).unlimited()
