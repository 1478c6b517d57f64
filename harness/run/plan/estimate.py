"""What a run will cost, before it starts.

Nominal FLOPs per stage from prompts, sizes and a dry run of each attack; time from what this machine has shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from harness.api.model.shape import Memory
from harness.api.runtime_defense import ConversationDefense, RuntimeDefense
from harness.api.task import Example, TaskData
from harness.api.training import LoraParams
from harness.api.victim import VictimCard
from harness.errors import HarnessError, first_line
from harness.flops import known
from harness.number_format import format_flops
from harness.records.model_role import ModelRole
from harness.run.cell_label import cell_label
from harness.run.plan.attack_flops import attack_flops
from harness.run.plan.diagnostics_flops import diagnostics_flops
from harness.run.plan.memory import VictimMemory, largest
from harness.run.plan.rate import Rates, find_rates, unknown_gpu_text
from harness.run.prepare.auxiliary_models import ModelSpec
from harness.run.prepare.resolved_cell import CellResolver, ResolvedCell
from harness.run.reporter import Forecast
from harness.run.run_folder import RunFolder
from harness.store.artifacts import ArtifactStore
from harness.tokens.message import Messages


@dataclass(frozen=True, slots=True)
class Stage:
    """One piece of work.

    Attributes:
        what: ``prepare``, ``defend`` or ``attack``.
        key: of the artifact or cell.
        status: ``done``, ``failed``, ``begun`` or ``missing``.
        flops: nominal estimate; None when the plugin gives none, or where nobody knows the victim's size.
        diagnostics: of an attack, what of that are diagnostics; None where unknown.
        local: whether it is computed on this machine, whose rate then says how long it takes.
        memory: the most that it takes; None when the plugin does not tell.
        device: where the victim's parameters have it computed: ``cpu``, ``cuda``, ``auto``, …
    """

    what: str
    label: str
    key: str
    status: str
    flops: float | None
    local: bool = True
    memory: Memory | None = None
    diagnostics: float | None = 0.0
    device: str = "cpu"

    @property
    def announced(self) -> str:
        """What a worker calls it when it begins."""
        return self.label if self.what == "defend" else f"{self.what} {self.label}"


@dataclass(frozen=True)
class Plan:
    """All stages of a spec in the order of the work, and the rates expected of the devices.

    Attributes:
        unknown: models asked besides victims of which nothing is known here, and why, in words.
        needs: keys of the stages that each cell needs, by the cell's key; its own is among them.
    """

    stages: list[Stage]
    rates: Rates
    unknown: tuple[str, ...] = ()
    needs: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def forecast(self, what: str | None = None, jobs: int = 1) -> Forecast:
        """What the stages not done yet will take; what is unknown of them is counted, not guessed."""
        left = [s for s in self.stages if s.status != "done" and what in (None, s.what)]
        times = [self.seconds(s) for s in left]
        return Forecast(
            flops=sum(s.flops or 0.0 for s in left),
            seconds=sum(time or 0.0 for time in times) / jobs,
            stages=len(left),
            unknown=sum(s.flops is None for s in left),
            untimed=sum(time is None for time in times),
            memory=largest((s.memory for s in left), jobs),
            expected={stage.announced: time for stage, time in zip(left, times, strict=True)},
            workers=jobs,
        )

    def seconds(self, stage: Stage) -> float | None:
        """How long a stage takes by the rate of its device; None where nothing tells."""
        if not stage.flops:
            return stage.flops
        rate = self.rates.of(stage.device, training=stage.what != "attack") if stage.local else None
        return None if rate is None else stage.flops / rate.flops

    def rate_lines(self) -> list[str]:
        """The rates that times are made of, and what to do where one is unknown."""
        left = [stage for stage in self.stages if stage.local and stage.status != "done"] or self.stages
        found: dict[str, str] = {}
        for stage in left:
            training, on_gpu = stage.what != "attack", self.rates.on_gpu(stage.device)
            rate = self.rates.of(stage.device, training=training)
            name = ("GPU, training" if training else "GPU") if on_gpu else "CPU"
            text = unknown_gpu_text() if rate is None else f"{name}: {format_flops(rate.flops)}/s, {rate.source}"
            found[text] = text
        return list(found)


def prompt_tokens(data: TaskData, card: VictimCard, extra: int, defenses: Sequence[RuntimeDefense] = ()) -> float:
    """Mean prompt length in tokens with ``extra`` attack tokens, from characters.

    Args:
        defenses: that stand before the victim: the messages of those that put some around a prompt count.
    """
    texts = [sum(len(message.content) for message in _read(example, defenses)) for example in data.validation[:64]]
    return sum(texts) / len(texts) / card.chars_per_token + extra


def _read(example: Example, defenses: Sequence[RuntimeDefense]) -> Messages:
    conversation = example.conversation
    for defense in defenses:
        if isinstance(defense, ConversationDefense):
            conversation = defense.surround(conversation, None)
    return conversation.messages(example.text)


def make_plan(
    cells: Sequence[ResolvedCell],
    resolver: CellResolver,
    store: ArtifactStore,
    folder: RunFolder | None,
    card: str | None = None,
    rate: float | None = None,
) -> Plan:
    """Stages and their costs; loads no model.

    Args:
        resolver: that the cells are of.
        store: where finished artifacts are looked for.
        folder: where finished cells are; None: nowhere.
        card, rate: as of `harness.run.plan.rate.find_rates`.
    """
    rates = find_rates(folder, card, rate)
    stages = _Stages(resolver, store, folder, planned_gpu=card is not None)
    for cell in cells:
        stages.add(cell)
    order = {"prepare": 0, "defend": 1, "attack": 2}
    ordered = sorted(stages.found.values(), key=lambda stage: order[stage.what])
    return Plan(ordered, rates, tuple(stages.unknown.values()), stages.needs)


class _Stages:
    """Collects the stages of cells, by key: what two cells share is made once."""

    def __init__(
        self, resolver: CellResolver, store: ArtifactStore, folder: RunFolder | None, *, planned_gpu: bool
    ) -> None:
        self.found: dict[str, Stage] = {}
        self.needs: dict[str, frozenset[str]] = {}
        self.unknown: dict[str, str] = {}
        self._needed: set[str] = set()
        self._resolver, self._store, self._folder, self._planned_gpu = resolver, store, folder, planned_gpu

    def add(self, cell: ResolvedCell) -> None:
        """Add all that a cell takes and no cell before it did."""
        spec, data, keys = cell.spec, cell.data, cell.keys
        self._needed = {keys.cell}
        card = spec.victim.plugin.card(data)
        tokens = prompt_tokens(data, card, spec.threat.tokens, [part.plugin for part in spec.runtime])
        memory = VictimMemory.of(spec.victim.plugin, data, card, tokens, planned_gpu=self._planned_gpu)
        name = f"{spec.victim.label} on {spec.task.label}, seed {spec.seed}"
        self._add_model(cell.victim, name, card, memory)
        self._add_rounds(cell, card, tokens, memory)
        sizes = self._add_auxiliary(cell)
        flops = _attempt(partial(attack_flops, spec, card, tokens, sizes, data))
        diagnostics = _attempt(partial(diagnostics_flops, spec, card, tokens, sizes, data))
        self.found[keys.cell] = Stage(
            "attack",
            cell_label(spec),
            keys.cell,
            self._folder.cell_status(keys.cell) if self._folder else "missing",
            None if flops is None or diagnostics is None else flops + diagnostics,
            card.local,
            memory.attack(spec.examples, spec.attack.plugin.access),
            diagnostics,
            device=memory.device,
        )
        self.needs[keys.cell] = frozenset(self._needed)

    def _add_model(self, model: ModelSpec, name: str, card: VictimCard, memory: VictimMemory) -> None:
        key, before = model.artifact.key, model.pretraining
        self._needed.add(key)
        if before is not None:
            self._needed.add(of := before.artifact.key)
            if of not in self.found:
                flops, device = known(before.stage.flops), memory.device
                self.found[of] = Stage(
                    "prepare", before.label, of, self._status(of), flops, memory=memory.prepare, device=device
                )
        if key not in self.found:
            flops = _attempt(partial(model.victim.plugin.estimate, model.data))
            self.found[key] = Stage(
                "prepare", name, key, self._status(key), flops, card.local, memory.prepare, device=memory.device
            )

    def _add_auxiliary(self, cell: ResolvedCell) -> dict[ModelRole, int | None]:
        """Add what is made ready besides the victim; the parameters of the models that the cell asks, by role."""
        sizes: dict[ModelRole, int | None] = {}
        for models in (cell.training_models, cell.auxiliary):
            for role, auxiliary in models.items():
                if (model := auxiliary.model) is None:
                    continue
                card = self._card(model)
                if card is None:  # what asks it has no estimate then
                    sizes |= {role: None} if models is cell.auxiliary else {}
                    continue
                if models is cell.auxiliary:
                    sizes[role] = card.n_params
                if model.data.train:  # the others are used as they are
                    tokens = prompt_tokens(model.data, card, 0)
                    memory = VictimMemory.of(
                        model.victim.plugin, model.data, card, tokens, planned_gpu=self._planned_gpu
                    )
                    name = f"{model.victim.label} for {role.name} on {cell.spec.task.label}, seed {model.seed}"
                    self._add_model(model, name, card, memory)
        return sizes

    def _card(self, model: ModelSpec) -> VictimCard | None:
        """What is known of a model that is asked besides the victim; None where its files are not to be had here."""
        try:
            card: VictimCard = model.victim.plugin.card(model.data)
        except HarnessError as error:
            self.unknown[model.victim.label] = f"{model.victim.label}: its size is not known here: {first_line(error)}"
            return None
        return card

    def _add_rounds(self, cell: ResolvedCell, card: VictimCard, tokens: float, memory: VictimMemory) -> None:
        spec, part, defense = cell.spec, cell.spec.trained, cell.spec.trained_plugin
        if part is None or defense is None:
            return
        params = defense.params
        needed = memory.defend(params.lora if isinstance(params, LoraParams) else None)
        expected = 0.0
        for number, key in enumerate((artifact.key for artifact in cell.keys.rounds), start=1):
            if expected >= (defense.budget() or math.inf):
                break  # the budget ends the training here, as far as can be told
            self._needed.add(key)
            if key not in self.found:
                name = f"{part.name} round {number} for {spec.victim.label} on {spec.task.label}, seed {spec.seed}"
                flops = None
                if (size := card.n_params) is not None:
                    estimate = partial(defense.estimate, size, tokens, number, spec.threat, self._resolver.attack)
                    flops = _attempt(estimate)
                self.found[key] = Stage(
                    "defend", name, key, self._status(key), flops, card.local, needed, device=memory.device
                )
            expected += self.found[key].flops or 0.0

    def _status(self, key: str) -> str:
        return "done" if self._store.find(key) else "missing"


def _attempt(estimate: Callable[[], float]) -> float | None:
    """An estimate; None when it is unknown, or the plugin's code for it fails: a plan must not be lost for that."""
    try:
        return known(estimate())
    except (Exception, SystemExit):
        return None
