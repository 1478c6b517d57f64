"""Rounds of defenses that train weights: each starts from the one before, and a budget may end them early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.api.defense import RoundJob
from harness.flops import Flops
from harness.isolation.step_timeout import StepLimit
from harness.rng import named_rng
from harness.run.prepare.artifacts import Artifacts
from harness.run.prepare.defense_search import TrainingSearch
from harness.run.prepare.open_models import OpenModels
from harness.run.prepare.resolved_cell import CellResolver, ResolvedCell
from harness.spec.cells import CellSpec
from harness.store.artifacts import Artifact


class TrainingRounds:
    """Finds or makes the weights that cells attack."""

    def __init__(self, resolver: CellResolver, artifacts: Artifacts, open_models: OpenModels) -> None:
        self._resolver, self._artifacts, self._open_models = resolver, artifacts, open_models

    def weights(self, cell: ResolvedCell, limited: StepLimit) -> Artifact:
        """The artifact whose weights the cell attacks: the victim's, or those of a trained defense's round; of the last
        one that its budget allows, where that is an earlier one than the cell's.

        Args:
            limited: what each step of a training attack runs under.
        """
        reached = self._artifacts.victim(cell)
        for number in range(1, len(cell.keys.rounds) + 1):
            if number > 1 and _budget_is_spent(cell.spec, reached):
                break
            reached = self._round(cell, number, reached, limited)
        return reached

    def _round(self, cell: ResolvedCell, number: int, before: Artifact, limited: StepLimit) -> Artifact:
        """One round, on top of the artifact of the round before, or of the victim."""
        artifact = cell.keys.rounds[number - 1]
        part, defense = cell.spec.trained, cell.spec.trained_plugin
        assert part is not None
        assert defense is not None
        previous = before if number > 1 else None
        reporter = self._artifacts.reporter

        def make(out: Path, scratch: Path) -> dict[str, Any]:
            victim, threat, seed = cell.spec.victim, defense.against(cell.spec.threat), cell.spec.seed
            reporter.stage(f"{part.name} round {number} for {victim.label} on {cell.spec.task.label}, seed {seed}")
            models = self._resolver, self._open_models
            job = RoundJob(
                round=number,
                model=self._artifacts.folder(before),
                previous=previous.folder if previous else None,
                folder=out,
                scratch=scratch,
                data=cell.data,
                threat=threat,
                seed=seed,
                rng=lambda purpose: named_rng(seed, artifact.key, purpose),
                open=lambda folder: victim.plugin.open(folder, cell.data),
                search=TrainingSearch(cell, artifact.key, threat, scratch, *models, reporter, limited),
                resolve=self._resolver.attack,
                progress=reporter.progress,
                retrain=victim.plugin.retrain if victim.plugin.retrains else None,
                retrains_views=victim.plugin.retrains_views,
            )
            cost = defense.train_round(job)
            searched, trained = _spent(previous)
            return {
                "round": number,
                "this_round": {"search": cost.search.to_json(), "training": cost.training.to_json()},
                "search": (searched + cost.search).to_json(),
                "training": (trained + cost.training).to_json(),
                "notes": cost.notes,
            }

        return self._artifacts.find_or_make(artifact, make, cell.spec.training_threads)


def why_not_trained(cell: CellSpec, weights: Artifact) -> str:
    """Why there is nothing to attack in this cell, or "": its round lies beyond the defense's budget."""
    defense = cell.trained_plugin
    if cell.round is None or defense is None or defense.budget() is None:
        return ""
    reached = weights.facts["round"]
    if reached == cell.round or defense.settles(cell.round):
        return ""
    return (
        f"round {cell.round} is not trained: the budget of {defense.budget():.4g} FLOPs was spent after round "
        f"{reached} ({sum(_spent(weights), Flops()).nominal:.4g} FLOPs)"
    )


def _budget_is_spent(cell: CellSpec, last: Artifact) -> bool:
    budget = cell.trained_plugin.budget() if cell.trained_plugin else None
    return budget is not None and sum(_spent(last), Flops()).nominal >= budget


def _spent(last: Artifact | None) -> tuple[Flops, Flops]:
    """On search and training in all rounds up to this one."""
    if last is None:
        return Flops(), Flops()
    return Flops.from_json(last.facts["search"]), Flops.from_json(last.facts["training"])
