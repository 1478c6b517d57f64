"""Making what cells need: fine-tuned victims, rounds of trained defenses, fitted guards; artifacts, made once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.api.attack import Attack
from harness.api.defense import RoundJob
from harness.api.model.backend import Backend
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.search_result import SearchResult
from harness.api.refs import PluginRef
from harness.api.task import Example, TaskData
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.router import ModelRouter
from harness.engine.search.search import Search
from harness.errors import HarnessError, VictimError, error_text
from harness.flops import Flops
from harness.hashing import canonical_json, content_key
from harness.isolation.step_timeout import StepLimit, no_step_limit
from harness.records.journal import Journal
from harness.records.step_row import StepRow
from harness.registry.registry import Registry
from harness.registry.resolved import ResolvedPlugin
from harness.rng import named_rng
from harness.run.prepare.auxiliary_models import (
    DEFENSES,
    JUDGES,
    AuxiliaryModel,
    attack_models,
    auxiliary_models,
    check_same_tokens,
)
from harness.run.prepare.certificates import certified_vote, certify
from harness.run.prepare.fits import layers_of
from harness.run.prepare.keys import Keys, Training, victim_identity
from harness.run.prepare.task_data import TaskDataCache
from harness.run.reporter import WorkReporter
from harness.spec.cells import CellSpec
from harness.store.artifacts import Artifact, ArtifactStore


class Preparer:
    """Finds or makes the artifacts of cells; keeps the model of the last one open."""

    def __init__(self, store: ArtifactStore, registry: Registry, tasks: TaskDataCache, reporter: WorkReporter) -> None:
        self.store, self.registry, self.tasks, self.reporter = store, registry, tasks, reporter
        self._fingerprints: dict[str, dict[str, str]] = {}
        self._open: tuple[str, Backend] | None = None
        self._bare: tuple[str, Backend] | None = None  # the undefended model, where another is attacked
        self._beside: dict[str, Backend] = {}  # auxiliary models that are open, by artifact
        self._failed: dict[str, str] = {}
        self.limited: StepLimit = no_step_limit  # for the steps of training attacks, and of the cell in hand
        self.made: Callable[[str], object] = lambda _: None  # told the key of each artifact that is there

    def ensure(self, key: str, identity: dict[str, Any], make: Callable[[Path, Path], dict[str, Any]]) -> Artifact:
        """The artifact; what failed once in this run fails at once for the other cells that need it."""
        if key in self._failed:
            raise VictimError(self._failed[key])
        try:
            artifact = self.store.ensure(key, identity, make)
            self.made(key)
            return artifact
        except Exception as error:
            self._failed[key] = error_text(error)
            raise

    def keys(self, cell: CellSpec) -> Keys:
        """The content addresses of a cell; loads its task's data."""
        data = self.tasks.data(cell.task)
        models = self.model_keys(self.auxiliary_models(cell))
        return Keys(cell, data.hash, self._fingerprint(cell.victim), models, self._training(cell))

    def _training(self, cell: CellSpec) -> Training:
        """What the defense's training attack brings beside its parameters."""
        attack = self.training_attack(cell)
        if attack is None:
            return Training()
        return Training(self.model_keys(self.training_helpers(cell)), attack.fingerprint())

    def training_attack(self, cell: CellSpec) -> Attack | None:
        """The attack that the cell's defense trains against, if it does."""
        defense = cell.trained_plugin
        ref = None if defense is None else defense.attack()
        return None if ref is None else self.resolve(ref, {})

    def training_helpers(self, cell: CellSpec) -> dict[str, AuxiliaryModel]:
        """The auxiliary models of the training attack, by role."""
        attack = self.training_attack(cell)
        needs = {} if attack is None else attack.models()
        return attack_models(cell, needs, self.tasks.data(cell.task), self.registry)

    def auxiliary_models(self, cell: CellSpec) -> dict[str, AuxiliaryModel]:
        """The auxiliary models of a cell, by role."""
        return auxiliary_models(cell, self.tasks.data(cell.task), self.registry)

    def _fingerprint(self, victim: ResolvedPlugin) -> dict[str, str]:
        name = canonical_json(victim.plugin.params.model_dump(mode="json")) + victim.name
        if name in self._failed:
            raise VictimError(self._failed[name])
        if name not in self._fingerprints:
            try:
                self._fingerprints[name] = victim.plugin.fingerprint()
            except Exception as error:  # it may have waited for a network: once is enough
                self._failed[name] = error_text(error)
                raise
        return self._fingerprints[name]

    def model_key(self, victim: ResolvedPlugin, data: TaskData, seed: int) -> tuple[str, dict[str, Any]]:
        """Key and identity of a victim made ready with some data."""
        identity = victim_identity(victim, data.hash, self._fingerprint(victim), seed)
        return content_key(identity), identity

    def model_keys(self, auxiliary_models: Mapping[str, AuxiliaryModel]) -> dict[str, str]:
        """Keys of auxiliary models by role; the victim, where it takes one itself, is left out."""
        return {
            role: self.model_key(helper.chosen, helper.data, helper.seed)[0]
            for role, helper in auxiliary_models.items()
            if helper.chosen is not None
        }

    def victim(self, cell: CellSpec) -> Artifact:
        """The victim, fine-tuned on the task."""
        return self.model(cell.victim, self.tasks.data(cell.task), cell.seed, f"on {cell.task.label}")

    def helper(self, cell: CellSpec, role: str, helper: AuxiliaryModel) -> Artifact:
        """An auxiliary model, made ready; the cell's victim where it takes that role itself."""
        if helper.chosen is None:
            return self.victim(cell)
        what = f"for {role.removeprefix(JUDGES).removeprefix(DEFENSES)} on {cell.task.label}"
        return self.model(helper.chosen, helper.data, helper.seed, what)

    def model(self, victim: ResolvedPlugin, data: TaskData, seed: int, what: str) -> Artifact:
        """A victim made ready with some data; ``what`` says what for."""
        key, identity = self.model_key(victim, data, seed)

        def make(out: Path, scratch: Path) -> dict[str, Any]:
            from harness.api.victim import PrepareJob

            self.reporter.stage(f"prepare {victim.label} {what}, seed {seed}")
            spent = victim.plugin.prepare(PrepareJob(data, seed, out, scratch, self.reporter.progress))
            return {"card": asdict(victim.plugin.card(data)), "compute": spent.to_json()}

        return self.ensure(key, identity, make)

    def weights(self, cell: CellSpec) -> Artifact:
        """The artifact whose weights the cell attacks: the victim's, or those of a trained defense's round; of the last
        one that its budget allows, where that is an earlier one than the cell's.
        """
        artifact = self.victim(cell)
        previous: Artifact | None = None
        keys = self.keys(cell)
        for number, (key, identity) in enumerate(keys.rounds, start=1):
            if previous is not None and _spent(cell, previous):
                break
            before, earlier = artifact, previous
            artifact = self.ensure(key, identity, self._round_maker(cell, number, key, before, earlier))
            previous = artifact
        return artifact

    def not_trained(self, cell: CellSpec) -> str:
        """Why there is nothing to attack in this cell, or "": its round lies beyond the defense's budget."""
        defense = cell.trained_plugin
        if cell.round is None or defense is None or defense.budget() is None:
            return ""
        reached = self.weights(cell).facts
        if reached["round"] == cell.round or defense.settles(cell.round):
            return ""
        spent = Flops.from_json(reached["search"]) + Flops.from_json(reached["training"])
        return (
            f"round {cell.round} is not trained: the budget of {defense.budget():.4g} FLOPs was spent after round "
            f"{reached['round']} ({spent.nominal:.4g} FLOPs)"
        )

    def _round_maker(
        self, cell: CellSpec, number: int, key: str, before: Artifact, previous: Artifact | None
    ) -> Callable[[Path, Path], dict[str, Any]]:
        def make(out: Path, scratch: Path) -> dict[str, Any]:
            part, defense = cell.trained, cell.trained_plugin
            assert part is not None
            assert defense is not None
            self.reporter.stage(
                f"{part.name} round {number} for {cell.victim.label} on {cell.task.label}, seed {cell.seed}"
            )
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
        self, cell: CellSpec, number: int, key: str, model: Path, previous: Path | None, out: Path, scratch: Path
    ) -> RoundJob:
        data, defense = self.tasks.data(cell.task), cell.trained_plugin
        assert defense is not None
        searches = 0

        def search(backend: Backend, attack: Attack, examples: Sequence[Example]) -> SearchResult:
            nonlocal searches
            searches += 1
            against = job.threat
            allowed = allowed_tokens(backend.tokenizer, against)
            problems = [place(example, against, backend.tokenizer, allowed, data.labels) for example in examples]
            victim = DefendedVictim(backend, labels=data.labels, answer_tokens=data.answer_tokens)
            needs = attack_models(cell, attack.models(), data, self.registry)
            desk = ModelRouter(victim, self.opened(cell, needs, victim))
            total = len(problems) * attack.params.steps
            done = 0

            def seen(_: int, rows: Sequence[StepRow]) -> None:
                nonlocal done
                done += len(rows)
                self.reporter.progress("training attack", done, total)

            with Journal(scratch / f"search-{searches}.jsonl") as journal:
                names = (cell.seed, key, f"search-{searches}")
                # Whoever trains the weights may look at all of them, whatever the attacker is granted.
                attacking = Search(desk, attack, names, granted="latent", limited=self.limited, note=self.reporter.note)
                return attacking.run(problems, journal, seen)

        job = RoundJob(
            round=number,
            model=model,
            previous=previous,
            folder=out,
            scratch=scratch,
            data=data,
            threat=defense.against(cell.threat),
            seed=cell.seed,
            rng=lambda purpose: named_rng(cell.seed, key, purpose),
            open=lambda folder: cell.victim.plugin.open(folder, data),
            search=search,
            resolve=self.resolve,
            progress=self.reporter.progress,
        )
        return job

    def resolve(self, ref: PluginRef, changes: dict[str, Any]) -> Attack:
        """The attack that a reference names, with some parameters replaced."""
        plugin = self.registry.resolve("attack", PluginRef(name=ref.name, params={**ref.params, **changes})).plugin
        assert isinstance(plugin, Attack)
        return plugin

    def backend(self, cell: CellSpec) -> Backend:
        """The model of the cell's weights, loaded; kept until another is asked for."""
        weights = self.weights(cell)
        if self._open is None or self._open[0] != weights.key:
            self._open = None  # free the old model before the new one is loaded
            self.reporter.stage(f"load {cell.victim.label}")
            self._open = (weights.key, _loaded(cell.victim, weights.folder, self.tasks.data(cell.task)))
        return self._open[1]

    def undefended(self, cell: CellSpec) -> Backend:
        """The model of the cell's victim as it was before any defense, loaded beside that of the cell's weights."""
        artifact, backend = self.victim(cell), self.backend(cell)
        if self._open is not None and self._open[0] == artifact.key:
            return backend
        if self._bare is None or self._bare[0] != artifact.key:
            self._bare = None
            self.reporter.stage(f"load {cell.victim.label}, undefended")
            self._bare = (artifact.key, _loaded(cell.victim, artifact.folder, self.tasks.data(cell.task)))
        return self._bare[1]

    def desks(self, cell: CellSpec) -> tuple[ModelRouter, ModelRouter]:
        """The victim that the attack searches against with the models that it asks besides, and the defended victim
        with those of the judge. The two victims are the same unless the attack is static.
        """
        data, needs, backend = self.tasks.data(cell.task), self.auxiliary_models(cell), self.backend(cell)
        bare = DefendedVictim(backend, (), data.labels, data.answer_tokens)
        found = self.opened(cell, needs, bare)
        layers = layers_of(self, cell, backend, found)
        victim = DefendedVictim(backend, layers, data.labels, data.answer_tokens, cell.attack_draws)
        searched = victim
        if cell.static:
            searched = DefendedVictim(self.undefended(cell), (), data.labels, data.answer_tokens)
        attack = {
            role: searched if needs[role].chosen is None else model
            for role, model in found.items()
            if not role.startswith((JUDGES, DEFENSES))
        }
        judge = {role.removeprefix(JUDGES): model for role, model in found.items() if role.startswith(JUDGES)}
        return ModelRouter(searched, attack), ModelRouter(victim, judge)

    def certificate(
        self, cell: CellSpec, victim: DefendedVictim, examples: Sequence[Example]
    ) -> dict[str, object] | None:
        """What the defense certifies of clean prompts, found once for all attacks on it; None where it certifies
        nothing.
        """
        if certified_vote(victim.layers) is None or not victim.labels:
            return None
        pipeline = self.keys(cell).pipeline
        identity = {"what": "certificate", "pipeline": pipeline, "examples": len(examples)}

        def make(out: Path, scratch: Path) -> dict[str, Any]:
            self.reporter.stage(f"certify {cell.defense.label} for {cell.victim.label} on {cell.task.label}")
            return {"certificate": certify(victim, examples, pipeline, cell.seed, self.reporter)}

        found: dict[str, object] | None = self.ensure(content_key(identity), identity, make).facts["certificate"]
        return found

    def judges(self, cell: CellSpec) -> ModelRouter:
        """The models of the judge alone."""
        needs = {role: need for role, need in self.auxiliary_models(cell).items() if role.startswith(JUDGES)}
        found = self.opened(cell, needs, None)
        return ModelRouter(None, {role.removeprefix(JUDGES): model for role, model in found.items()})

    def opened(
        self, cell: CellSpec, needs: dict[str, AuxiliaryModel], victim: DefendedVictim | None
    ) -> dict[str, DefendedVictim]:
        """Auxiliary models by role, loaded; those that no longer serve are let go first. Roles that the victim takes
        itself, and those that need its tokens, need the ``victim``.
        """
        artifacts = {role: self.helper(cell, role, need) for role, need in needs.items() if need.chosen is not None}
        wanted = {artifact.key for artifact in artifacts.values()}
        self._beside = {key: backend for key, backend in self._beside.items() if key in wanted}
        found: dict[str, DefendedVictim] = {}
        for role, need in needs.items():
            if need.chosen is None:
                assert victim is not None  # a judge names its models
                found[role] = victim
                continue
            artifact, data = artifacts[role], need.data
            if artifact.key not in self._beside:
                self.reporter.stage(f"load {need.chosen.label}")
                self._beside[artifact.key] = _loaded(need.chosen, artifact.folder, data)
            backend = self._beside[artifact.key]
            if need.need.same_tokens and victim is not None:
                check_same_tokens(victim.backend.tokenizer, backend.tokenizer, f"model '{role}' ({need.chosen.label})")
            found[role] = DefendedVictim(backend, labels=data.labels, answer_tokens=data.answer_tokens)
        return found


def _spent(cell: CellSpec, last: Artifact) -> bool:
    """Whether the rounds up to this one have used up the defense's budget."""
    budget = cell.trained_plugin.budget() if cell.trained_plugin else None
    spent = Flops.from_json(last.facts["search"]) + Flops.from_json(last.facts["training"])
    return budget is not None and spent.nominal >= budget


def _loaded(victim: ResolvedPlugin, folder: Path, data: TaskData) -> Backend:
    """The model in an artifact. Raises VictimError where it cannot be loaded."""
    try:
        backend: Backend = victim.plugin.open(folder, data)
    except HarnessError:
        raise
    except Exception as error:
        raise VictimError(
            f"{folder}: cannot be loaded ({error_text(error)}); delete the folder to have it made again"
        ) from error
    return backend


def needs_of(cell: CellSpec, keys: Keys, preparer: Preparer) -> tuple[str, ...]:
    """Keys of the artifacts of a cell, in the order of their making, and of its defended victim if it has one."""
    auxiliary_models = preparer.model_keys(preparer.training_helpers(cell)).values()
    found = [keys.victim, *auxiliary_models, *(key for key, _ in keys.rounds), *keys.models.values()]
    return tuple(dict.fromkeys([*found, *([keys.pipeline] if cell.runtime else [])]))
