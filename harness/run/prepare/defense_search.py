"""The attacks that a defense runs while it is trained or fitted; each goes on from its journal after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.api.attack import Attack
from harness.api.model.backend import Backend
from harness.api.problem.search_result import SearchResult
from harness.api.task import Example
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.on_examples import search_on_examples
from harness.isolation.step_timeout import StepLimit, no_step_limit
from harness.records.journal import Journal
from harness.run.prepare.open_models import OpenModels, models_by_name
from harness.run.prepare.resolved_cell import CellResolver, ResolvedCell
from harness.run.reporter import WorkReporter


@dataclass
class TrainingSearch:
    """Runs attacks for one artifact in the making, as often as its defense asks.

    Attributes:
        key: of the artifact; with the number of the search, what its randomness depends on.
        threat: the threat model that the strings keep to.
        scratch: where the journals are.
        limited: what each step runs under.
    """

    cell: ResolvedCell
    key: str
    threat: Threat
    scratch: Path
    resolver: CellResolver
    open_models: OpenModels
    reporter: WorkReporter
    limited: StepLimit = no_step_limit
    _begun: int = field(default=0, init=False)

    def __call__(self, backend: Backend, attack: Attack, examples: Sequence[Example]) -> SearchResult:
        """Attack examples of the cell's task against a model without defenses."""
        self._begun += 1
        name = f"search-{self._begun}"
        total = len(examples) * attack.params.steps
        done = 0

        def models(victim: DefendedVictim) -> dict[str, DefendedVictim]:
            declared = self.resolver.models_of(attack, self.cell)
            return models_by_name(self.open_models.auxiliary(self.cell, declared, victim), "attack")

        def report(_: int, rows: Sequence[Any]) -> None:
            nonlocal done
            done += len(rows)
            self.reporter.progress("training attack", done, total)

        with Journal(self.scratch / f"{name}.jsonl") as journal:
            return search_on_examples(
                attack,
                examples,
                backend,
                self.cell.data,
                self.threat,
                (self.cell.spec.seed, self.key, name),
                models,
                journal,
                self.limited,
                self.reporter.note,
                report,
            )
