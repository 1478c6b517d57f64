"""Which auxiliary models a cell needs, and what each of them is made ready with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from harness.api.attack import Attack
from harness.api.model.auxiliary import Auxiliary
from harness.api.task import TaskData
from harness.errors import PluginError, VictimError, error_text, first_line
from harness.hashing import canonical_json, content_key
from harness.records.model_role import ModelRole
from harness.registry.registry import Registry
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.run.prepare.keys import ArtifactSpec, victim_identity
from harness.run.prepare.pretrainings import PretrainingFinder, PretrainingSpec
from harness.run.prepare.task_data import TaskDataCache
from harness.spec.cells import CellSpec


@dataclass(frozen=True)
class ModelSpec:
    """A victim plugin and what it is made ready with, which makes one artifact.

    Attributes:
        fingerprint: hashes of the files that the plugin starts from, as it tells them.
        training_threads: of torch while it is made ready.
        pretraining: what it starts from, where the plugin has such a stage.
    """

    victim: ResolvedPlugin
    data: TaskData
    seed: int
    fingerprint: Mapping[str, str]
    training_threads: int
    pretraining: PretrainingSpec | None = None

    @property
    def pretraining_key(self) -> str:
        """Key of its pretraining; "" where it has none."""
        return "" if self.pretraining is None else self.pretraining.artifact.key

    @property
    def content(self) -> str:
        """Hash of the fingerprint; "" where that is empty."""
        return content_key(dict(self.fingerprint)) if self.fingerprint else ""

    @cached_property
    def artifact(self) -> ArtifactSpec:
        """The artifact that this makes."""
        made_of = (
            self.victim,
            self.data.hash,
            self.fingerprint,
            self.seed,
            self.training_threads,
            self.pretraining_key,
        )
        return ArtifactSpec.of(victim_identity, *made_of)


@dataclass(frozen=True)
class AuxiliaryModel:
    """A model that is asked besides the victim.

    Attributes:
        model: None: the victim of the cell itself serves.
        same_tokens: whether it has to have the victim's tokens.
    """

    model: ModelSpec | None
    same_tokens: bool = False


class ModelFinder:
    """Finds the models that a cell takes: its victim, those that plugins name, small ones of the victim's family.

    Args:
        tasks: where the data of the tasks comes from that pretrainings read.
        outlined: go on where a model's files or commit cannot be told here, for a plan; its keys are then no others'.

    Attributes:
        made_up: of which models that is so, and why, in words.
    """

    def __init__(self, registry: Registry, tasks: TaskDataCache, *, outlined: bool = False) -> None:
        self.registry = registry
        self._pretrainings = PretrainingFinder(registry, tasks)
        self._outlined = outlined
        self.made_up: list[str] = []
        self._fingerprints: dict[str, dict[str, str]] = {}
        self._failed: dict[str, str] = {}

    def model(self, victim: ResolvedPlugin, data: TaskData, seed: int, training_threads: int) -> ModelSpec:
        """A victim with what it is made ready with.

        Raises:
            VictimError: its files are not found.
            DataError: a task that its pretraining reads cannot be loaded.
        """
        fingerprint = self._fingerprint(victim)
        pretraining = self._pretrainings.of(victim, fingerprint, seed, training_threads)
        return ModelSpec(victim, data, seed, fingerprint, training_threads, pretraining)

    def of_cell(self, cell: CellSpec, data: TaskData) -> dict[ModelRole, AuxiliaryModel]:
        """The models that the attack, the judge and the runtime defenses of a cell ask.

        Raises:
            PluginError, VictimError: there is no such model.
        """
        found = self.of_attack(cell.attack.plugin, cell, data)
        for name, declared in cell.judge.plugin.models().items():
            if declared.victim is None:
                raise PluginError(f"judge {cell.judge.name}: model '{name}' is not named; name a victim for it")
            found[ModelRole(name, "judge")] = self._declared(f"judge {cell.judge.name}", name, declared, cell, data)
        for place, part in enumerate(cell.runtime):
            for name, declared in part.plugin.models().items():
                role = ModelRole(name, "defense", place)
                found[role] = self._declared(f"defense {part.name}", name, declared, cell, data)
        return found

    def of_attack(self, attack: Attack, cell: CellSpec, data: TaskData) -> dict[ModelRole, AuxiliaryModel]:
        """The models of an attack on the cell's victim: the cell's own, or one that a defense is trained against."""
        return {
            ModelRole(name): self._declared(f"attack {attack.name}", name, declared, cell, data)
            for name, declared in attack.models().items()
        }

    def _declared(self, who: str, name: str, declared: Auxiliary, cell: CellSpec, data: TaskData) -> AuxiliaryModel:
        """The model that a plugin asks for in its `models()`."""
        victim, ref = cell.victim.plugin, declared.victim
        if ref is None:
            if declared.sees == "text" and victim.card(data).language_model:
                return AuxiliaryModel(None, declared.same_tokens)
            ref = None if declared.sees == "nothing" else victim.sibling(declared.sees)
        if ref is None:
            raise VictimError(
                f"{who} asks a model '{name}' besides the victim, and {cell.victim.label} names none of its family; "
                f"name one: {{{who.split()[1]}: {{{name}: ...}}}}"
            )
        chosen = self.registry.resolve("victim", ref)
        if declared.sees == "nothing":
            data, seed = TaskData(declared.labels, (), ()), 0
        else:
            data, seed = data.text if declared.sees == "text" else data, cell.seed
            if not chosen.plugin.estimate(data):  # used as it is: one artifact for all tasks and seeds
                data, seed = TaskData(data.labels, (), (), answer_tokens=data.answer_tokens), 0
        return AuxiliaryModel(self.model(chosen, data, seed, cell.training_threads), declared.same_tokens)

    def _fingerprint(self, victim: ResolvedPlugin) -> dict[str, str]:
        """Of a victim's files, taken once: it may have to wait for a network."""
        name = canonical_json(victim.plugin.params.model_dump(mode="json")) + victim.name
        if name in self._failed:
            raise VictimError(self._failed[name])
        if name not in self._fingerprints:
            try:
                self._fingerprints[name] = victim.fingerprint()
            except Exception as error:
                if self._outlined:
                    self.made_up.append(f"{victim.label}: planned without its files: {first_line(error)}")
                    return self._fingerprints.setdefault(name, {"not known here": name})
                self._failed[name] = error_text(error)
                raise
        return self._fingerprints[name]
