"""Runtime defenses made ready: opened with their models, and fitted once as artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.api.attack import Attack
from harness.api.model.backend import Backend
from harness.api.problem.search_result import SearchResult
from harness.api.requests import DefenseRequest
from harness.api.runtime_defense import FitJob, GuardDefense, RuntimeDefense, TransformDefense
from harness.api.task import Example
from harness.engine.defended.defense_requests import answer_defense_requests
from harness.engine.defended.layer import Layer
from harness.engine.defended.pipeline import Pipeline
from harness.engine.defended.prompt_item import PromptItem
from harness.flops import Flops
from harness.records.model_role import ModelRole, asked_by
from harness.rng import named_rng
from harness.run.prepare.artifacts import Artifacts
from harness.run.prepare.defense_search import TrainingSearch
from harness.run.prepare.open_models import OpenModel, OpenModels
from harness.run.prepare.resolved_cell import CellResolver, ResolvedCell
from harness.store.artifacts import Artifact


class DefenseFits:
    """Finds or makes what runtime defenses are fitted to a victim with: thresholds and the like."""

    def __init__(self, resolver: CellResolver, artifacts: Artifacts, open_models: OpenModels) -> None:
        self._resolver, self._artifacts, self._open_models = resolver, artifacts, open_models

    def layers(
        self, cell: ResolvedCell, backend: Backend, models: Mapping[ModelRole, OpenModel]
    ) -> tuple[list[Layer], list[Artifact | None]]:
        """The runtime defenses of a cell, in order, and the fit of each; None of one that fits nothing.

        Args:
            backend: the cell's model, undefended.
            models: the cell's auxiliary models; those that its defenses ask are taken from them.
        """
        layers: list[Layer] = []
        fits: list[Artifact | None] = []
        for place, part in enumerate(cell.spec.runtime):
            own_models = asked_by(models, "defense", place)
            backends = {name: model.as_victim.backend for name, model in own_models.items()}
            fit = self._fit(cell, place, backend, backends, tuple(layers))
            same_tokens = all(model.same_tokens for model in own_models.values())
            layers.append(Layer(part.plugin, fit.facts["fitted"] if fit else {}, backends, same_tokens))
            fits.append(fit)
        return layers, fits

    def _fit(
        self, cell: ResolvedCell, place: int, backend: Backend, models: dict[str, Backend], before: tuple[Layer, ...]
    ) -> Artifact | None:
        part = cell.spec.runtime[place]
        plugin: RuntimeDefense = part.plugin
        if not isinstance(plugin, GuardDefense) and type(plugin).fit is RuntimeDefense.fit:
            return None
        artifact, reporter = cell.keys.fits[place], self._artifacts.reporter

        def make(out: Path, scratch: Path) -> dict[str, Any]:
            victim, task, seed = cell.spec.victim.label, cell.spec.task.label, cell.spec.seed
            reporter.stage(f"fit {part.label} for {victim} on {task}, seed {seed}")
            threat = cell.spec.threat.unlimited()
            search = TrainingSearch(cell, artifact.key, threat, scratch, self._resolver, self._open_models, reporter)
            tools = _MeteredTools(cell, artifact.key, part.name, backend, models, before, search)
            job = FitJob(
                cell.data,
                seed,
                backend,
                named_rng(seed, artifact.key, "fit"),
                tools.rewritten,
                tools.ask,
                tools.search,
                self._resolver.attack,
                threat,
                cell.data.validation[max(cell.spec.clean_examples, cell.spec.examples) :],
            )
            return {"fitted": plugin.fit(job), "compute": tools.spent.to_json()}

        return self._artifacts.find_or_make(artifact, make, cell.spec.training_threads)


@dataclass
class _MeteredTools:
    """What one fit may ask for, and what that has taken so far.

    Attributes:
        key: of the fit's artifact.
        defense: its name.
        models: those that it asks besides the victim, by name.
        before: the layers that a prompt meets before it.
    """

    cell: ResolvedCell
    key: str
    defense: str
    backend: Backend
    models: Mapping[str, Backend]
    before: tuple[Layer, ...]
    attack: TrainingSearch
    spent: Flops = field(default_factory=Flops)

    def rewritten(self, texts: Sequence[str]) -> list[str]:
        """Texts as they reach the defense, behind the transforms that stand before it."""
        pipeline = Pipeline(self.before, self.backend, lambda _: [])
        items = [PromptItem(text, (self.cell.spec.seed, self.key, "seen", i)) for i, text in enumerate(texts)]
        for at, layer in enumerate(self.before):
            if isinstance(layer.defense, TransformDefense):
                rewritten = pipeline.rewritten(items, at)
                items = [item for item, _ in rewritten]
                self.spent = sum((cost for _, cost in rewritten), self.spent)
        return [item.text for item in items]

    def ask(self, requests: Sequence[DefenseRequest]) -> list[Any]:
        """Answers of the victim's model ("") and of those besides."""
        answers = answer_defense_requests(f"defense {self.defense}", requests, {"": self.backend, **self.models})
        self.spent = sum((cost for _, cost in answers), self.spent)
        return [answer for answer, _ in answers]

    def search(self, attack: Attack, examples: Sequence[Example]) -> SearchResult:
        """Attack the undefended victim with these examples."""
        found = self.attack(self.backend, attack, examples)
        self.spent += found.cost
        return found
