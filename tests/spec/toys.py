"""Small plugins of every kind, enough to write any spec with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PositiveInt

from harness.api.attack import Attack, Step
from harness.api.defense import Defense, RoundCost, RoundJob, TrainedDefense
from harness.api.judge import Answer, Judge
from harness.api.params import Params, SpecPath, host_field
from harness.api.plugin import KINDS, Kind, Plugin
from harness.api.problem.state import State
from harness.api.refs import AttackRef, PluginRef
from harness.api.task import Example, Task, TaskData
from harness.api.victim import PrepareJob, Victim, VictimCard
from harness.flops import Flops
from harness.registry.registry import Registry
from harness.spec.axes import resolve_refs
from harness.spec.cells import CellSpec, expand
from harness.spec.fields import Spec
from harness.spec.parse import spec_refs
from harness.spec.spec_problems import InvalidSpecError, SpecProblem


class WordLength(Task):
    """A task without files."""

    name = "word_length"

    class Params(Task.Params):
        size: PositiveInt = 100

    def load(self) -> TaskData:
        raise NotImplementedError


class Table(Task):
    """A task from a file."""

    name = "table"

    class Params(Task.Params):
        path: SpecPath = host_field(..., description="the file")

    def load(self) -> TaskData:
        raise NotImplementedError


class Tiny(Victim):
    """A victim with a size."""

    name = "tiny"

    class Params(Victim.Params):
        size: str = "s"
        width: PositiveInt = 8
        device: str = host_field("auto")

    def card(self, data: TaskData) -> VictimCard:
        raise NotImplementedError

    def estimate(self, data: TaskData) -> float:
        raise NotImplementedError

    def prepare(self, job: PrepareJob) -> Flops:
        raise NotImplementedError

    def open(self, folder: Path, data: TaskData) -> Any:
        raise NotImplementedError


class _Toy(Attack):
    def start(self, problem: Any, rng: np.random.Generator) -> State:
        raise NotImplementedError

    def step(self, state: State, problem: Any, rng: np.random.Generator) -> Step:
        raise NotImplementedError


class RandomToken(_Toy):
    """An attack that needs scores."""

    name, access = "random_token", "scores"


class Gcg(_Toy):
    """An attack that needs gradients."""

    name, access = "gcg", "gradient"


class NoDefense(Defense):
    """No defense."""

    name = "none"


class Ramp(Params):
    """Nested parameters."""

    start: PositiveInt = 1


class Training(TrainedDefense):
    """A defense in rounds."""

    name = "adversarial_training"

    class Params(TrainedDefense.Params):
        rounds: PositiveInt = 2
        ramp: Ramp = Ramp()
        attack: AttackRef = PluginRef(name="gcg")

    def rounds(self) -> int:
        return int(self.params.rounds)

    def evaluated(self) -> tuple[int, ...]:
        return tuple(range(1, self.params.rounds + 1))

    def round_identity(self, *args: Any) -> dict[str, Any]:
        raise NotImplementedError

    def estimate(self, *args: Any) -> float:
        raise NotImplementedError

    def train_round(self, job: RoundJob) -> RoundCost:
        raise NotImplementedError


class WrongLabel(Judge):
    """A judge."""

    name = "wrong_label"

    def success(self, example: Example, answer: Answer) -> bool:
        raise NotImplementedError


_ALL: dict[Kind, list[type[Plugin]]] = {
    "task": [WordLength, Table],
    "victim": [Tiny],
    "attack": [RandomToken, Gcg],
    "defense": [NoDefense, Training],
    "judge": [WrongLabel],
}


def toy_registry(version: str = "1.0") -> Registry:
    """A registry of all of them, as if from a distribution `toys`."""
    registry = Registry()
    for kind in KINDS:
        for cls in _ALL[kind]:
            registry.add(kind, cls, "toys", version)
    return registry


def cells_of(spec: Spec, registry: Registry) -> list[CellSpec]:
    """The cells of a spec that does not come from a file."""
    problems: list[SpecProblem] = []
    plugins = resolve_refs(spec_refs(spec, []), registry, problems)
    cells = [] if problems else expand(spec, plugins, registry, problems)
    if problems:
        raise InvalidSpecError(f"spec '{spec.name}'", problems)
    return cells
