"""Runtime defenses made ready: opened with their models, and fitted once as artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.attack import Attack
from harness.api.model.backend import Backend
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.search_result import SearchResult
from harness.api.requests import DefenseRequest
from harness.api.runtime_defense import FitJob, GuardDefense, RuntimeDefense, TransformDefense
from harness.api.task import Example
from harness.engine.defended.defense_requests import answer_defense_requests
from harness.engine.defended.layer import Layer
from harness.engine.defended.pipeline import Pipeline
from harness.engine.defended.prompt_item import PromptItem
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.router import ModelRouter
from harness.engine.search.search import Search
from harness.errors import VictimError
from harness.flops import Flops
from harness.hashing import content_key
from harness.records.journal import Journal
from harness.registry.resolved import ResolvedPlugin
from harness.rng import named_rng
from harness.run.prepare.auxiliary_models import DEFENSES, attack_models, check_same_tokens
from harness.run.prepare.keys import fit_identity
from harness.spec.cells import CellSpec
from harness.store.artifacts import Artifact
from harness.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from harness.run.prepare.preparer import Preparer


def layers_of(preparer: Preparer, cell: CellSpec, backend: Backend, models: dict[str, DefendedVictim]) -> list[Layer]:
    """The runtime defenses of a cell, in order.

    Args:
        backend: the cell's model, undefended.
        models: by role, those of defenses after `DEFENSES`.
    """
    layers: list[Layer] = []
    for place_, part in enumerate(cell.runtime):
        prefix = f"{DEFENSES}{place_}:"
        own = {role.removeprefix(prefix): m.backend for role, m in models.items() if role.startswith(prefix)}
        artifact = fitted(preparer, cell, place_, backend, own, layers)
        same = all(_same_tokens(backend.tokenizer, model.tokenizer) for model in own.values())
        layers.append(Layer(part.plugin, artifact.facts["fitted"] if artifact else {}, own, same))
    return layers


def fitted(
    preparer: Preparer, cell: CellSpec, at: int, backend: Backend, models: dict[str, Backend], before: Sequence[Layer]
) -> Artifact | None:
    """The fit of the runtime defense at place ``at``; None where it fits nothing."""
    part = cell.runtime[at]
    plugin: RuntimeDefense = part.plugin
    if not isinstance(plugin, GuardDefense) and type(plugin).fit is RuntimeDefense.fit:
        return None
    keys = preparer.keys(cell)
    identity = fit_identity(cell, at, keys.weights, keys.models)
    key = content_key(identity)

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        preparer.reporter.stage(f"fit {part.label} for {cell.victim.label} on {cell.task.label}, seed {cell.seed}")
        fit = _Fit(preparer, cell, part, key, backend, models, tuple(before), scratch)
        return {"fitted": plugin.fit(fit.job()), "compute": fit.spent.to_json()}

    return preparer.ensure(key, identity, make)


class _Fit:
    """What one fit is given, and what it spends."""

    def __init__(
        self,
        preparer: Preparer,
        cell: CellSpec,
        part: ResolvedPlugin,
        key: str,
        backend: Backend,
        models: dict[str, Backend],
        before: tuple[Layer, ...],
        scratch: Path,
    ) -> None:
        self.preparer, self.cell, self.part, self.key = preparer, cell, part, key
        self.backend, self.models, self.before, self.scratch = backend, models, before, scratch
        self.data = preparer.tasks.data(cell.task)
        self.spent = Flops()
        self._searches = 0

    def job(self) -> FitJob:
        return FitJob(
            self.data,
            self.cell.seed,
            self.backend,
            named_rng(self.cell.seed, self.key, "fit"),
            self.seen,
            self.ask,
            self.search,
            self.preparer.resolve,
            self.cell.threat.unlimited(),
            self.data.validation[max(self.cell.clean_examples, self.cell.examples) :],
        )

    def seen(self, texts: Sequence[str]) -> list[str]:
        """Behind the transforms that stand before this defense."""
        pipeline = Pipeline(self.before, self.backend, lambda _: [])
        items = [PromptItem(text, (self.cell.seed, self.key, "seen", i)) for i, text in enumerate(texts)]
        for at, layer in enumerate(self.before):
            if isinstance(layer.defense, TransformDefense):
                made = pipeline.rewritten(items, at)
                items = [item for item, _ in made]
                self.spent = sum((cost for _, cost in made), self.spent)
        return [item.text for item in items]

    def ask(self, requests: Sequence[DefenseRequest]) -> list[Any]:
        answers = answer_defense_requests(f"defense {self.part.name}", requests, {"": self.backend, **self.models})
        self.spent = sum((cost for _, cost in answers), self.spent)
        return [answer for answer, _ in answers]

    def search(self, attack: Attack, examples: Sequence[Example]) -> SearchResult:
        self._searches += 1
        threat = self.cell.threat.unlimited()
        allowed = allowed_tokens(self.backend.tokenizer, threat)
        problems = [place(e, threat, self.backend.tokenizer, allowed, self.data.labels) for e in examples]
        victim = DefendedVictim(self.backend, (), self.data.labels, self.data.answer_tokens)
        needs = attack_models(self.cell, attack.models(), self.data, self.preparer.registry)
        desk = ModelRouter(victim, self.preparer.opened(self.cell, needs, victim))
        with Journal(self.scratch / f"search-{self._searches}.jsonl") as journal:
            names = (self.cell.seed, self.key, f"search-{self._searches}")
            found = Search(desk, attack, names, granted="latent").run(problems, journal)
        self.spent += found.cost
        return found


def _same_tokens(victim: Tokenizer, other: Tokenizer) -> bool:
    try:
        check_same_tokens(victim, other, "")
    except VictimError:
        return False
    return True
