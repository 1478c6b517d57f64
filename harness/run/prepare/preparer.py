"""Making a cell ready for its attack: victim, rounds of training, fitted defenses, all models open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.router import ModelRouter
from harness.flops import UNKNOWN, Flops
from harness.isolation.step_timeout import StepLimit, no_step_limit
from harness.records.model_role import ModelRole
from harness.registry.registry import Registry
from harness.run.prepare.artifacts import Artifacts
from harness.run.prepare.defense_fits import DefenseFits
from harness.run.prepare.open_models import OpenModel, OpenModels, models_by_name
from harness.run.prepare.resolved_cell import CellResolver, ResolvedCell
from harness.run.prepare.training_rounds import TrainingRounds
from harness.run.reporter import WorkReporter
from harness.store.artifacts import Artifact, ArtifactStore
from harness.tokens.special_tokens import special_tokens_in


@dataclass(frozen=True)
class PreparedCell:
    """A cell whose models are trained, fitted and open.

    Attributes:
        base: the artifact of the victim before any defense.
        weights: the artifact that the attacked model was loaded from.
        fits: artifacts of the runtime defenses, in order; None of one that fits nothing.
        auxiliary: the models that are asked besides the victim.
        search_models: by artifact, what it took to make ready the models that training attacks ask.
        attack_router: what the attack asks: the defended victim, or the undefended one where the attack is static.
        judge_router: what is judged: the defended victim, and the models that the judge asks.
    """

    cell: ResolvedCell
    base: Artifact
    weights: Artifact
    fits: Sequence[Artifact | None]
    auxiliary: Mapping[ModelRole, OpenModel]
    search_models: Mapping[str, Flops]
    attack_router: ModelRouter
    judge_router: ModelRouter

    @property
    def victim(self) -> DefendedVictim:
        """The defended victim, whose answers are judged."""
        return self.judge_router.victim

    @property
    def judge(self) -> JudgeRunner:
        """The cell's judge, and how the victim answers what it judges."""
        spec = self.cell.spec
        return JudgeRunner(
            spec.judge.plugin,
            self.judge_router,
            spec.judge_draws,
            self.cell.data.labels,
            spec.answers,
            spec.threat.asks,
        )


class Preparer:
    """Makes cells ready one after another; the models of the last one stay open for the next.

    Args:
        on_artifact: told the key of all that is found or made for a cell.

    Attributes:
        resolver: works cells out, so that they can be made ready.
        artifacts: what is made, and kept.
    """

    def __init__(
        self,
        store: ArtifactStore,
        registry: Registry,
        reporter: WorkReporter,
        on_artifact: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.reporter = reporter
        self.resolver = CellResolver(registry)
        self.artifacts = Artifacts(store, reporter, on_artifact)
        self._open_models = OpenModels(self.artifacts)
        self._rounds = TrainingRounds(self.resolver, self.artifacts, self._open_models)
        self._fits = DefenseFits(self.resolver, self.artifacts, self._open_models)

    def weights(self, cell: ResolvedCell, limited: StepLimit = no_step_limit) -> Artifact:
        """The model that the cell attacks, trained as far as its defense's budget goes.

        Args:
            limited: what each step of a training attack runs under.
        """
        with special_tokens_in(cell.data.fixed_parts):
            return self._rounds.weights(cell, limited)

    def prepare(self, cell: ResolvedCell, weights: Artifact) -> PreparedCell:
        """Load the model with these weights and those asked besides, and fit the runtime defenses to it."""
        spec, data = cell.spec, cell.data
        backend = self._open_models.attacked(cell, weights)
        longest = spec.answers.longest(data.answer_tokens)
        bare = DefendedVictim(backend, (), data.labels, longest)
        auxiliary = self._open_models.auxiliary(cell, cell.auxiliary, bare)
        with special_tokens_in(data.fixed_parts):
            layers, fits = self._fits.layers(cell, backend, auxiliary)
        victim = attacked = DefendedVictim(backend, layers, data.labels, longest, spec.attack_draws)
        if spec.static:
            undefended = self._open_models.undefended(cell, weights)
            attacked = DefendedVictim(undefended, (), data.labels, longest)
        for role, model in auxiliary.items():
            if role.asker == "attack" and model.artifact is None:  # it meets the victim in that role as in any other
                auxiliary[role] = replace(model, as_victim=attacked)
        self.artifacts.on_artifact(cell.keys.pipeline)
        attack_router = ModelRouter(attacked, models_by_name(auxiliary, "attack"))
        judge_router = ModelRouter(victim, models_by_name(auxiliary, "judge"))
        base, searched = self.artifacts.victim(cell), self._search_models(cell)
        return PreparedCell(cell, base, weights, fits, auxiliary, searched, attack_router, judge_router)

    def _search_models(self, cell: ResolvedCell) -> dict[str, Flops]:
        """What it took to make ready the models that the training attacks of a cell's defense ask, by artifact."""
        models = [model.model for model in self.resolver.search_models(cell).values() if model.model is not None]
        found = {model.artifact.key: self.artifacts.store.find(model.artifact.key) for model in models}
        # What was fitted or trained in another store may come without them.
        return {
            key: Flops.from_json(artifact.facts["compute"]) if artifact else Flops(UNKNOWN, UNKNOWN)
            for key, artifact in found.items()
        }

    def judge_models(self, cell: ResolvedCell) -> dict[ModelRole, OpenModel]:
        """The models that the judge asks, open; all that it takes to judge recorded answers."""
        judge = {role: model for role, model in cell.auxiliary.items() if role.asker == "judge"}
        return self._open_models.auxiliary(cell, judge, None)
