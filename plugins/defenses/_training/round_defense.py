"""Base of the defenses that train: rounds, which of them are attacked, a budget, and one round's weight updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from harness import (
    Flops,
    LoraParams,
    Rerouting,
    RetrainJob,
    RoundJob,
    Threat,
    TrainConfig,
    TrainedDefense,
    TrainRow,
    VictimError,
    Views,
    nominal_backward,
    nominal_forward,
)


class RoundDefense(TrainedDefense):
    """A defense that trains round by round; subclasses implement `train_round` and `estimate`.

    Attributes:
        identity_excludes: parameters that do not change the weights of a round, and are no part of its identity.
    """

    class Params(TrainedDefense.Params, LoraParams):
        """Rounds, their budget, and the optimiser."""

        rounds: PositiveInt = Field(8, description="how many rounds to train, at most")
        budget: PositiveFloat | None = Field(
            None,
            allow_inf_nan=False,
            description="nominal FLOPs of all rounds together: once spent, no further round starts; none: no limit",
        )
        evaluate: Literal["all", "last"] | tuple[PositiveInt, ...] = Field(
            "all", description="rounds whose checkpoint is attacked, one cell each"
        )
        optimizer: Literal["adafactor", "adamw"] = Field(
            "adafactor", description="optimiser; it starts afresh in each round"
        )
        learning_rate: PositiveFloat = Field(
            1e-5,
            description="at the beginning of each round; falls linearly to 0; with lora 2e-4 by default",
        )
        batch_size: PositiveInt = Field(8, description="examples per update")

        @model_validator(mode="after")
        def _known_rounds(self) -> Self:
            if isinstance(self.evaluate, tuple) and (not self.evaluate or max(self.evaluate) > self.rounds):
                raise ValueError(f"evaluate: name rounds from 1 to {self.rounds}")
            return self

    params: Params
    identity_excludes: ClassVar[frozenset[str]] = frozenset({"rounds", "budget", "evaluate", "threat"})

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

    def round_identity(self, params: dict[str, Any], round: int, threat: Threat) -> dict[str, Any]:
        return {
            "params": {name: value for name, value in params.items() if name not in self.identity_excludes},
            "threat": threat.identity(),
        }

    def train_weights(
        self, job: RoundJob, rows: Sequence[TrainRow] | Views | Rerouting, purpose: str, **config: Any
    ) -> Flops:
        """Train the model of a round on rows, views or pairs to reroute, and write it to the round's folder.

        Args:
            purpose: names the random numbers of this training.
            config: further fields of `TrainConfig`.

        Returns:
            the compute spent.

        Raises:
            VictimError: views or pairs to reroute, and a victim with a training of its own.
        """
        params = self.params
        recipe = TrainConfig(
            optimizer=params.optimizer,
            learning_rate=params.learning_rate,
            batch_size=params.batch_size,
            lora=params.lora,
            **config,
        )
        seed = int(job.rng(purpose).integers(2**31))
        if job.retrain is not None:
            if isinstance(rows, Rerouting):
                raise VictimError(
                    f"{self.name}: trains on the model's activations, and the victim has a training of its own "
                    "(Victim.retrain), which takes rows; use refusal_training or adversarial_training"
                )
            if isinstance(rows, Views) and not job.retrains_views:
                raise VictimError(
                    f"{self.name}: trains on several views of an example at once, and the victim has a training of its "
                    "own (Victim.retrain), which takes rows; use adversarial_training"
                )
            common = (job.data, seed, job.scratch, job.progress)
            return job.retrain(RetrainJob(job.model, job.folder, rows, recipe, *common))
        from harness import retrain  # brings torch along

        return retrain(
            job.model,
            job.folder,
            rows,
            recipe,
            labels=job.data.labels,
            seed=seed,
            scratch=job.scratch,
            progress=job.progress,
        )


def nominal_training(n_params: int, tokens: float, *, frozen: bool = False) -> float:
    """Nominal FLOPs of a forward and a backward pass over so many tokens.

    Args:
        frozen: whether an adapter is trained, whose own parameters are few.
    """
    return tokens * (nominal_forward(n_params, 1) + nominal_backward(n_params, 1, 0 if frozen else None))
