"""A cell worked out: its data, the models that it takes, and the keys of all that is made for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.api.attack import Attack
from harness.api.refs import PluginRef
from harness.api.task import TaskData
from harness.errors import VictimError
from harness.records.model_role import ModelRole, asked_by
from harness.registry.registry import Registry
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.run.prepare.auxiliary_models import AuxiliaryModel, ModelFinder, ModelSpec
from harness.run.prepare.keys import Keys, TrainingInputs
from harness.run.prepare.task_data import TaskDataCache
from harness.spec.cells import CellSpec


@dataclass(frozen=True)
class ResolvedCell:
    """A cell of a spec with everything that it is made of, before anything is made.

    Attributes:
        spec: the cell as the spec has it.
        data: of its task.
        victim: what the victim is made ready with.
        auxiliary: the models that the attack, the judge and the runtime defenses ask besides.
        training_attack: the attack that the defense trains against, if it does.
        training_models: the models that this attack asks besides.
        keys: content addresses of the cell and of its artifacts.
    """

    spec: CellSpec
    data: TaskData
    victim: ModelSpec
    auxiliary: Mapping[ModelRole, AuxiliaryModel]
    training_attack: ResolvedPlugin | None
    training_models: Mapping[ModelRole, AuxiliaryModel]
    keys: Keys

    @property
    def artifact_keys(self) -> tuple[str, ...]:
        """Of all that is made before the attack, each once in the order of its making; last the defended victim's,
        where runtime defenses are fitted to it.
        """
        training = _keys_of(self.training_models).values()
        rounds = [artifact.key for artifact in self.keys.rounds]
        pretraining = self.victim.pretraining_key
        found = [*([pretraining] if pretraining else []), self.keys.victim]
        found += [*training, *rounds, *self.keys.models.values()]
        return tuple(dict.fromkeys([*found, *([self.keys.pipeline] if self.spec.runtime else [])]))


class CellResolver:
    """Works cells out; each task's data are loaded once, each model's files looked for once.

    Args:
        outlined: for a plan: where data or a model's commit cannot be had here, go on with what task and model tell.
    """

    def __init__(self, registry: Registry, *, outlined: bool = False) -> None:
        self.registry = registry
        self._tasks = TaskDataCache(outlined=outlined)
        self._models = ModelFinder(registry, self._tasks, outlined=outlined)

    @property
    def made_up(self) -> list[str]:
        """What was not to be had here, and what stands for it, in words."""
        return [*self._tasks.made_up, *self._models.made_up]

    def resolve(self, cell: CellSpec) -> ResolvedCell:
        """Load the cell's data, find its models, and work out its keys.

        Raises:
            DataError: the data cannot be read.
            PluginError, VictimError: a model is not found.
        """
        data = self.data(cell)
        auxiliary = self._models.of_cell(cell, data)
        victim = self._models.model(cell.victim, data, cell.seed, cell.training_threads)
        training_attack = self._training_attack(cell)
        training_models: dict[ModelRole, AuxiliaryModel] = {}
        inputs = TrainingInputs()
        if training_attack is not None:
            training_models = self._models.of_attack(training_attack.plugin, cell, data)
            names = asked_by(_keys_of(training_models), "attack")
            inputs = TrainingInputs(names, training_attack.fingerprint())
        of_victim = data.hash, victim.fingerprint
        keys = Keys(cell, *of_victim, _keys_of(auxiliary), inputs, victim.pretraining_key)
        return ResolvedCell(cell, data, victim, auxiliary, training_attack, training_models, keys)

    def data(self, cell: CellSpec) -> TaskData:
        """The data of the cell's task, as its victim is asked. Raises DataError where they cannot be read."""
        data = self.task_data(cell.task)
        if data.for_chat is data:
            return data
        try:
            return data.for_chat if cell.victim.plugin.takes_messages(data) else data
        except Exception:  # whatever is wrong with the victim is said by `check_victim`
            return data

    def task_data(self, task: ResolvedPlugin) -> TaskData:
        """The data of a task. Raises DataError where they cannot be read."""
        return self._tasks.data(task)

    def check_victim(self, cell: CellSpec) -> None:
        """Find the victim's files, and what is known of it.

        Raises:
            VictimError: there is no such model, or the task gives messages that it does not take.
        """
        data = self.data(cell)
        self._models.model(cell.victim, data, cell.seed, cell.training_threads)
        cell.victim.plugin.card(data)
        if not data.plain and not cell.victim.plugin.takes_messages(data):
            raise VictimError(
                f"{cell.victim.label} accepts no conversations, and {cell.task.label} consists of them: name a model "
                f"with a chat template, or give its victim one (huggingface: chat: ./TEMPLATE.jinja)"
            )

    def attack(self, ref: PluginRef, changes: dict[str, Any]) -> Attack:
        """The attack that a reference names, with some parameters replaced."""
        plugin = self.registry.resolve("attack", PluginRef(name=ref.name, params={**ref.params, **changes}))
        assert isinstance(plugin.plugin, Attack)
        return plugin.plugin

    def models_of(self, attack: Attack, cell: ResolvedCell) -> dict[ModelRole, AuxiliaryModel]:
        """The models that an attack on the cell's victim asks besides; any attack, not only the cell's own."""
        return self._models.of_attack(attack, cell.spec, cell.data)

    def search_models(self, cell: ResolvedCell) -> dict[ModelRole, AuxiliaryModel]:
        """The models that the attacks ask with which the cell's defense is trained or its parts are fitted."""
        found = dict(cell.training_models)
        for place, part in enumerate(cell.spec.runtime):
            ref = part.plugin.attack()
            if ref is not None:
                models = self.models_of(self.attack(ref, {}), cell)
                found |= {ModelRole(role.name, "defense", place): model for role, model in models.items()}
        return found

    def _training_attack(self, cell: CellSpec) -> ResolvedPlugin | None:
        defense = cell.trained_plugin
        ref = None if defense is None else defense.attack()
        return None if ref is None else self.registry.resolve("attack", ref)


def _keys_of(models: Mapping[ModelRole, AuxiliaryModel]) -> dict[ModelRole, str]:
    """Their keys; where the cell's victim serves itself, there is none."""
    return {role: auxiliary.model.artifact.key for role, auxiliary in models.items() if auxiliary.model is not None}
