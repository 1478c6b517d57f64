"""Pretrainings of victims: each is an artifact of its own, which victims on all tasks share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from harness.api.task import TaskData
from harness.api.victim import Pretraining
from harness.hashing import canonical_json
from harness.registry.registry import Registry
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.run.prepare.keys import ArtifactSpec, pretraining_identity
from harness.run.prepare.task_data import TaskDataCache


@dataclass(frozen=True)
class PretrainingSpec:
    """A victim's pretraining and what it is made of.

    Attributes:
        victim: that asks for it; others may ask for the same.
        stage: what the victim says of it.
        tasks: data of the tasks whose texts it reads.
        seed: of all that is drawn.
        fingerprint: hashes of the files that the victim starts from, as it tells them.
        training_threads: of torch while it is made.
    """

    victim: ResolvedPlugin
    stage: Pretraining
    tasks: tuple[TaskData, ...]
    seed: int
    fingerprint: Mapping[str, str]
    training_threads: int

    @property
    def label(self) -> str:
        """What it is called in plans and progress."""
        return f"{self.victim.label}: pretraining, seed {self.seed}"

    @cached_property
    def artifact(self) -> ArtifactSpec:
        """The artifact that this makes."""
        texts = [data.hash for data in self.tasks]
        made_of = (self.victim, self.stage.identity, texts, self.fingerprint, self.seed, self.training_threads)
        return ArtifactSpec.of(pretraining_identity, *made_of)


class PretrainingFinder:
    """Finds the pretraining of victims, each worked out once.

    Args:
        tasks: where the data of tasks is taken from.
    """

    def __init__(self, registry: Registry, tasks: TaskDataCache) -> None:
        self._registry, self._tasks = registry, tasks
        self._found: dict[str, PretrainingSpec] = {}

    def of(
        self, victim: ResolvedPlugin, fingerprint: Mapping[str, str], seed: int, threads: int
    ) -> PretrainingSpec | None:
        """The pretraining of a victim in a run of that seed; None where it has none.

        Raises:
            DataError: a task that it reads cannot be loaded.
        """
        stage: Pretraining | None = victim.plugin.pretraining()
        if stage is None:
            return None
        known = [victim.name, dict(stage.identity), dict(fingerprint), seed, threads]
        name = canonical_json(known + [ref.model_dump(mode="json") for ref in stage.tasks])
        if name not in self._found:
            tasks = tuple(self._tasks.data(self._registry.resolve("task", ref)) for ref in stage.tasks)
            drawn_by = seed if stage.seed is None else stage.seed
            self._found[name] = PretrainingSpec(victim, stage, tasks, drawn_by, fingerprint, threads)
        return self._found[name]
