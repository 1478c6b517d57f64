"""Making what cells need: fine-tuned victims, rounds of trained defenses, fitted guards; artifacts, made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.attack import Attack
from harness.defense import FitJob, GuardDefense, RoundJob, TrainedDefense, TransformDefense
from harness.engine.backend import Backend
from harness.engine.defended import DefendedVictim, Layer
from harness.engine.search import Search
from harness.engine.track import SearchResult
from harness.errors import HarnessError, VictimError, in_words
from harness.flops import Flops
from harness.identity import canonical_json, content_key
from harness.records.journal import Journal
from harness.refs import PluginRef
from harness.registry.registry import Registry
from harness.rng import named_rng
from harness.run.keys import Keys, guard_identity
from harness.run.report import WorkReporter
from harness.run.tasks import Tasks
from harness.spec.cells import Cell
from harness.store.artifacts import Artifact, Store
from harness.task import Example
from harness.tokens.placement import allowed_tokens, place


class Preparer:
    """Finds or makes the artifacts of cells; keeps the model of the last one open."""

    def __init__(self, store: Store, registry: Registry, tasks: Tasks, reporter: WorkReporter) -> None:
        self.store, self.registry, self.tasks, self.reporter = store, registry, tasks, reporter
        self._fingerprints: dict[str, dict[str, str]] = {}
        self._open: tuple[str, Backend] | None = None
        self._failed: dict[str, str] = {}

    def _ensure(self, key: str, identity: dict[str, Any], make: Callable[[Path, Path], dict[str, Any]]) -> Artifact:
        """The artifact; what failed once in this run fails at once for the other cells that need it."""
        if key in self._failed:
            raise VictimError(self._failed[key])
        try:
            return self.store.ensure(key, identity, make)
        except Exception as error:
            self._failed[key] = in_words(error)
            raise

    def keys(self, cell: Cell) -> Keys:
        """The content addresses of a cell; loads its task's data."""
        name = canonical_json(cell.victim.plugin.params.model_dump(mode="json")) + cell.victim.name
        if name in self._failed:
            raise VictimError(self._failed[name])
        if name not in self._fingerprints:
            try:
                self._fingerprints[name] = cell.victim.plugin.fingerprint()
            except Exception as error:  # it may have waited for a network: once is enough
                self._failed[name] = in_words(error)
                raise
        return Keys(cell, self.tasks.data(cell.task).hash, self._fingerprints[name])

    def victim(self, cell: Cell) -> Artifact:
        """The victim, fine-tuned on the task."""
        keys, data = self.keys(cell), self.tasks.data(cell.task)

        def make(out: Path, scratch: Path) -> dict[str, Any]:
            from harness.victim import PrepareJob

            self.reporter.stage(f"prepare {cell.victim.label} on {cell.task.label}, seed {cell.seed}")
            spent = cell.victim.plugin.prepare(PrepareJob(data, cell.seed, out, scratch, self.reporter.progress))
            return {"card": asdict(cell.victim.plugin.card(data)), "compute": spent.to_json()}

        return self._ensure(keys.victim, keys.victim_identity, make)

    def weights(self, cell: Cell) -> Artifact:
        """The artifact whose weights the cell attacks: the last round of a trained defense, or the victim."""
        artifact, previous = self.victim(cell), None
        keys = self.keys(cell)
        for number, (key, identity) in enumerate(keys.rounds, start=1):
            before, earlier = artifact, previous
            artifact = self._ensure(key, identity, self._round_maker(cell, number, key, before, earlier))
            previous = artifact
        return artifact

    def _round_maker(
        self, cell: Cell, number: int, key: str, before: Artifact, previous: Artifact | None
    ) -> Callable[[Path, Path], dict[str, Any]]:
        def make(out: Path, scratch: Path) -> dict[str, Any]:
            self.reporter.stage(
                f"{cell.defense.name} round {number} for {cell.victim.label} on {cell.task.label}, seed {cell.seed}"
            )
            defense = cell.defense.plugin
            assert isinstance(defense, TrainedDefense)
            cost = defense.train_round(
                self._job(cell, number, key, before.folder, previous.folder if previous else None, out, scratch)
            )
            old = previous.facts if previous else {"search": Flops().to_json(), "training": Flops().to_json()}
            return {
                "round": number,
                "this_round": {"search": cost.search.to_json(), "training": cost.training.to_json()},
                "search": (Flops.from_json(old["search"]) + cost.search).to_json(),
                "training": (Flops.from_json(old["training"]) + cost.training).to_json(),
                "notes": cost.notes,
            }

        return make

    def _job(
        self, cell: Cell, number: int, key: str, model: Path, previous: Path | None, out: Path, scratch: Path
    ) -> RoundJob:
        data = self.tasks.data(cell.task)
        searches = 0

        def search(backend: Backend, attack: Attack, examples: Sequence[Example]) -> SearchResult:
            nonlocal searches
            searches += 1
            allowed = allowed_tokens(backend.tokenizer, cell.threat)
            problems = [place(example, cell.threat, backend.tokenizer, allowed) for example in examples]
            total = len(problems) * attack.params.steps
            done = 0

            def seen(_: int, rows: list[dict[str, Any]]) -> None:
                nonlocal done
                done += len(rows)
                self.reporter.progress("training attack", done, total)

            with Journal(scratch / f"search-{searches}.jsonl") as journal:
                names = (cell.seed, key, f"search-{searches}")
                return Search(DefendedVictim(backend), attack, names, granted="gradient").run(problems, journal, seen)

        return RoundJob(
            round=number,
            model=model,
            previous=previous,
            folder=out,
            scratch=scratch,
            data=data,
            threat=cell.threat.unlimited(),
            seed=cell.seed,
            rng=lambda purpose: named_rng(cell.seed, key, purpose),
            open=lambda folder: cell.victim.plugin.open(folder, data),
            search=search,
            resolve=self.resolve,
            progress=self.reporter.progress,
        )

    def resolve(self, ref: PluginRef, changes: dict[str, Any]) -> Attack:
        """The attack that a reference names, with some parameters replaced."""
        plugin = self.registry.choose("attack", PluginRef(name=ref.name, params={**ref.params, **changes})).plugin
        assert isinstance(plugin, Attack)
        return plugin

    def backend(self, cell: Cell) -> Backend:
        """The model of the cell's weights, loaded; kept until another is asked for."""
        weights = self.weights(cell)
        if self._open is None or self._open[0] != weights.key:
            self._open = None  # free the old model before the new one is loaded
            try:
                self._open = (weights.key, cell.victim.plugin.open(weights.folder, self.tasks.data(cell.task)))
            except HarnessError:
                raise
            except Exception as error:
                raise VictimError(
                    f"{weights.folder}: cannot be loaded ({in_words(error)}); delete the folder to have it made again"
                ) from error
        return self._open[1]

    def defended(self, cell: Cell) -> DefendedVictim:
        """The cell's victim behind its defense."""
        backend, defense = self.backend(cell), cell.defense.plugin
        if isinstance(defense, TransformDefense):
            return DefendedVictim(backend, [Layer(defense, {})])
        if isinstance(defense, GuardDefense):
            identity = guard_identity(cell, self.keys(cell).weights)
            key = content_key(identity)

            def make(out: Path, scratch: Path) -> dict[str, Any]:
                self.reporter.stage(
                    f"fit {cell.defense.label} for {cell.victim.label} on {cell.task.label}, seed {cell.seed}"
                )
                job = FitJob(self.tasks.data(cell.task), cell.seed, backend, named_rng(cell.seed, key, "fit"))
                return {"fitted": defense.fit(job)}

            return DefendedVictim(backend, [Layer(defense, self._ensure(key, identity, make).facts["fitted"])])
        return DefendedVictim(backend)
