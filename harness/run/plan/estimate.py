"""What a run will cost, before it starts.

Nominal FLOPs per stage from prompts, sizes and a rehearsal of each attack; time from what this machine has shown.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from harness.api.model.shape import Memory
from harness.api.task import TaskData
from harness.api.victim import VictimCard
from harness.engine.dry_run import dry_run_attack, dry_run_judge, pipeline_flops
from harness.errors import DataError
from harness.flops import known, nominal_forward
from harness.registry.defense_stack import is_randomised
from harness.run.cell_label import cell_label
from harness.run.plan.memory import Need, largest
from harness.run.prepare.auxiliary_models import DEFENSES, JUDGES
from harness.run.prepare.keys import Keys
from harness.run.prepare.preparer import Preparer
from harness.run.reporter import Forecast
from harness.run.run_folder import RunFolder
from harness.spec.cells import CellSpec

GUESSED_SHARE = (
    0.2  # of the machine's matrix-product rate that models of this size reach; used until a cell has been run here
)


@dataclass(frozen=True, slots=True)
class Stage:
    """One piece of work.

    Attributes:
        what: ``prepare``, ``defend`` or ``attack``.
        key: of the artifact or cell.
        status: ``done``, ``failed``, ``begun`` or ``missing``.
        flops: nominal estimate; None when the plugin gives none, or where nobody knows the victim's size.
        local: whether it is computed on this machine, whose rate then says how long it takes.
        memory: the most that it takes; None when the plugin does not tell.
    """

    what: str
    label: str
    key: str
    status: str
    flops: float | None
    local: bool = True
    memory: Memory | None = None


@dataclass(frozen=True)
class Plan:
    """All stages of a spec in the order of the work, and the rate expected of this machine (nominal FLOP/s)."""

    stages: list[Stage]
    rate: float
    rate_source: str

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
        )

    def seconds(self, stage: Stage) -> float | None:
        """How long a stage takes by the rate of this machine; None where that says nothing."""
        if stage.flops is None or (stage.flops and not stage.local):
            return None
        return stage.flops / self.rate


def prompt_tokens(data: TaskData, card: VictimCard, extra: int) -> float:
    """Mean prompt length in tokens with ``extra`` attack tokens, from characters."""
    texts = [len(example.text) for example in data.validation[:64]]
    return sum(texts) / len(texts) / card.chars_per_token + extra


def make_plan(cells: Sequence[CellSpec], preparer: Preparer, folder: RunFolder | None) -> Plan:
    """Stages and their costs; loads the tasks' data, no model."""
    stages: dict[str, Stage] = {}
    for cell in cells:
        data = preparer.tasks.data(cell.task)
        keys = preparer.keys(cell)
        card = cell.victim.plugin.card(data)
        tokens = prompt_tokens(data, card, cell.threat.tokens)
        memory = Need.of(cell.victim.plugin, data, card, tokens)
        if keys.victim not in stages:
            name = f"{cell.victim.label} on {cell.task.label}, seed {cell.seed}"
            stages[keys.victim] = Stage(
                "prepare",
                name,
                keys.victim,
                _made(preparer, keys.victim),
                _attempt(partial(cell.victim.plugin.estimate, data)),
                card.local,
                memory.prepare,
            )
        _add_rounds(stages, cell, keys, card, tokens, memory, preparer)
        sizes = _add_helpers(stages, cell, preparer)
        stages[keys.cell] = Stage(
            "attack",
            cell_label(cell),
            keys.cell,
            folder.cell_status(keys.cell) if folder else "missing",
            _attempt(partial(attack_flops, cell, card, tokens, sizes, data)),
            card.local,
            memory.attack(cell.examples, cell.attack.plugin.access),
        )
    rate, source = known_rate(folder) or (guessed_rate(), "guessed from a matrix product")
    order = {"prepare": 0, "defend": 1, "attack": 2}
    return Plan(sorted(stages.values(), key=lambda stage: order[stage.what]), rate, source)


def attack_flops(
    cell: CellSpec, card: VictimCard, tokens: float, sizes: Mapping[str, int | None], data: TaskData
) -> float:
    """Nominal FLOPs of a cell: clean check, attack steps, judging; as if every example were attacked. NaN: unknown.

    Args:
        sizes: parameters of the auxiliary models, by role.
    """
    answer = 0 if data.labels else data.answer_tokens
    defenses = [part.plugin for part in cell.runtime]
    own = [_roles(sizes, f"{DEFENSES}{place}:") for place in range(len(defenses))]
    judged = pipeline_flops(defenses, own, card.n_params, tokens, answer)
    clean = judged if data.labels else judged + _judging(cell, sizes)
    if answer:  # and the loss of the target
        judged += nominal_forward(card.n_params, 1) * tokens + _judging(cell, sizes)
    judged *= cell.judge_draws if is_randomised(cell.defense) else 1
    asked = dry_run_attack(cell.attack.plugin, cell.threat)
    per_step = asked.nominal(card.n_params, tokens, sizes) + judged
    if not cell.static:
        draws = cell.attack_draws if any(plugin.loss_varies for plugin in defenses) else 1
        seen = draws * pipeline_flops(defenses, own, card.n_params, tokens, loss=True)
        per_step += asked.scored * (seen - nominal_forward(card.n_params, 1) * tokens)
    steps: int = cell.attack.plugin.params.steps
    return cell.examples * steps * per_step + cell.clean_examples * clean


def _roles(sizes: Mapping[str, int | None], prefix: str) -> dict[str, int | None]:
    return {role.removeprefix(prefix): size for role, size in sizes.items() if role.startswith(prefix)}


def _judging(cell: CellSpec, sizes: Mapping[str, int | None]) -> float:
    """Nominal FLOPs of the judge's models for one answer."""
    own = {role.removeprefix(JUDGES): size for role, size in sizes.items() if role.startswith(JUDGES)}
    return dry_run_judge(cell.judge.plugin).nominal(0, 0.0, own)


def _add_helpers(stages: dict[str, Stage], cell: CellSpec, preparer: Preparer) -> dict[str, int | None]:
    """Note what has to be made ready besides the victim; parameters of the auxiliary models by role."""
    sizes: dict[str, int | None] = {}
    for role, helper in (preparer.training_helpers(cell) | preparer.auxiliary_models(cell)).items():
        if helper.chosen is None:
            continue
        card = helper.chosen.plugin.card(helper.data)
        sizes[role] = card.n_params
        key, _ = preparer.model_key(helper.chosen, helper.data, helper.seed)
        if key not in stages and helper.data.train:
            name = f"{helper.chosen.label} for {role.removeprefix(JUDGES)} on {cell.task.label}, seed {helper.seed}"
            flops = _attempt(partial(helper.chosen.plugin.estimate, helper.data))
            tokens = prompt_tokens(helper.data, card, 0)
            need = Need.of(helper.chosen.plugin, helper.data, card, tokens).prepare
            stages[key] = Stage("prepare", name, key, _made(preparer, key), flops, card.local, need)
    return sizes


def _attempt(estimate: Callable[[], float]) -> float | None:
    """An estimate; None when it is unknown, or the plugin's code for it fails: a plan must not be lost for that."""
    try:
        return known(estimate())
    except (Exception, SystemExit):
        return None


def _made(preparer: Preparer, key: str) -> str:
    return "done" if preparer.store.find(key) else "missing"


def _add_rounds(
    stages: dict[str, Stage],
    cell: CellSpec,
    keys: Keys,
    card: VictimCard,
    tokens: float,
    memory: Need,
    preparer: Preparer,
) -> None:
    part, defense = cell.trained, cell.trained_plugin
    if part is None or defense is None:
        return
    expected = 0.0
    for number, (key, _) in enumerate(keys.rounds, start=1):
        if expected >= (defense.budget() or math.inf):
            break  # the budget ends the training here, as far as can be told
        if key not in stages:
            name = f"{part.name} round {number} for {cell.victim.label} on {cell.task.label}, seed {cell.seed}"
            size = card.n_params
            flops = None
            if size is not None:
                flops = _attempt(partial(defense.estimate, size, tokens, number, cell.threat, preparer.resolve))
            stages[key] = Stage("defend", name, key, _made(preparer, key), flops, card.local, memory.defend)
        expected += stages[key].flops or 0.0


def known_rate(folder: RunFolder | None) -> tuple[float, str] | None:
    """Nominal FLOP/s over the cells of this run that were computed here, if there are any."""
    from harness.records.read import read_run

    if folder is None or not folder.manifest.exists():
        return None
    flops = seconds = 0.0
    count = 0
    with suppress(DataError):  # a damaged record is the run's affair; what is whole will do here
        for cell in read_run(folder.root):
            table = cell.steps(["attack_nominal", "judge_nominal", "attack_executed", "seconds"])
            if any(column.null_count for column in table.columns):
                continue  # of a model behind a URL
            steps = table.to_pydict()
            flops += sum(steps["attack_nominal"]) + sum(steps["judge_nominal"])
            seconds += sum(steps["seconds"])
            count += 1
    return (flops / seconds, f"measured over {count} cells of this run") if seconds else None


def guessed_rate() -> float:
    """A share of what a square matrix product reaches here, in FLOP/s."""
    size = 768
    a = np.ones((size, size), dtype=np.float32)
    a @ a  # the first call starts threads
    began = time.perf_counter()
    for _ in range(5):
        a @ a
    return GUESSED_SHARE * 5 * 2 * size**3 / (time.perf_counter() - began)
