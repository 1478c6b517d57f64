"""A cell that is ready for its attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.router import ModelRouter
from harness.records.model_role import Asker, ModelRole, asked_by
from harness.run.prepare.open_models import OpenModel
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.store.artifacts import Artifact


@dataclass(frozen=True)
class PreparedCell:
    """A cell whose models are trained, fitted and open.

    Attributes:
        base: the artifact of the victim before any defense.
        weights: the artifact that the attacked model was loaded from.
        fits: artifacts of the runtime defenses, in order; None of one that fits nothing.
        auxiliary: the models that are asked besides the victim.
        attacked: the victim that the attack searches against: the defended one, unless the attack is static.
        victim: the defended victim, whose answers are judged.
    """

    cell: ResolvedCell
    base: Artifact
    weights: Artifact
    fits: Sequence[Artifact | None]
    auxiliary: Mapping[ModelRole, OpenModel]
    attacked: DefendedVictim
    victim: DefendedVictim

    @property
    def attack_router(self) -> ModelRouter:
        """The models that the attack asks."""
        return ModelRouter(self.attacked, _models(self.auxiliary, "attack"))

    @property
    def judge_router(self) -> ModelRouter:
        """The victim that is judged, and the models that the judge asks."""
        return judge_router(self.victim, self.auxiliary)


def judge_router(victim: DefendedVictim | None, auxiliary: Mapping[ModelRole, OpenModel]) -> ModelRouter:
    """What a judge is put before; ``victim`` None where recorded answers are judged."""
    return ModelRouter(victim, _models(auxiliary, "judge"))


def _models(auxiliary: Mapping[ModelRole, OpenModel], asker: Asker) -> dict[str, DefendedVictim]:
    return {name: model.as_victim for name, model in asked_by(auxiliary, asker).items()}
