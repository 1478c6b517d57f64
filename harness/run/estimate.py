"""What a run will cost, before it starts.

Nominal FLOPs per stage from prompts, sizes and a rehearsal of each attack; time from what this machine has shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from harness.defense import TrainedDefense
from harness.engine.rehearse import rehearse
from harness.errors import DataError
from harness.flops import nominal_forward
from harness.run.cell import label
from harness.run.keys import Keys
from harness.run.layout import RunFolder
from harness.run.prepare import Preparer
from harness.spec.cells import Cell
from harness.task import TaskData
from harness.victim import VictimCard

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
        flops: nominal estimate, or None when the plugin gives none.
    """

    what: str
    label: str
    key: str
    status: str
    flops: float | None


@dataclass(frozen=True)
class Plan:
    """All stages of a spec in the order of the work, and the rate expected of this machine (nominal FLOP/s)."""

    stages: list[Stage]
    rate: float
    rate_source: str

    def remaining(self, what: str | None = None) -> float:
        """Nominal FLOPs of the stages not done yet."""
        return sum(s.flops or 0.0 for s in self.stages if s.status != "done" and what in (None, s.what))


def prompt_tokens(data: TaskData, card: VictimCard, extra: int) -> float:
    """Mean prompt length in tokens with ``extra`` attack tokens, from characters."""
    texts = [len(example.text) for example in data.validation[:64]]
    return sum(texts) / len(texts) / card.chars_per_token + extra


def make_plan(cells: Sequence[Cell], preparer: Preparer, folder: RunFolder | None) -> Plan:
    """Stages and their costs; loads the tasks' data, no model."""
    stages: dict[str, Stage] = {}
    for cell in cells:
        data = preparer.tasks.data(cell.task)
        keys = preparer.keys(cell)
        card = cell.victim.plugin.card(data)
        tokens = prompt_tokens(data, card, cell.threat.tokens)
        if keys.victim not in stages:
            name = f"{cell.victim.label} on {cell.task.label}, seed {cell.seed}"
            stages[keys.victim] = Stage(
                "prepare",
                name,
                keys.victim,
                _made(preparer, keys.victim),
                _attempt(partial(cell.victim.plugin.estimate, data)),
            )
        _add_rounds(stages, cell, keys, card, tokens, preparer)
        stages[keys.cell] = Stage(
            "attack",
            label(cell),
            keys.cell,
            folder.cell_status(keys.cell) if folder else "missing",
            _attempt(partial(attack_flops, cell, card, tokens)),
        )
    rate, source = known_rate(folder) or (guessed_rate(), "guessed from a matrix product")
    order = {"prepare": 0, "defend": 1, "attack": 2}
    return Plan(sorted(stages.values(), key=lambda stage: order[stage.what]), rate, source)


def attack_flops(cell: Cell, card: VictimCard, tokens: float) -> float:
    """Nominal FLOPs of a cell: clean check, attack steps, judging; as if every example were attacked."""
    forward = nominal_forward(card.n_params, 1) * tokens
    per_step = rehearse(cell.attack.plugin, cell.threat).nominal(card.n_params, tokens) + forward
    steps: int = cell.attack.plugin.params.steps
    return cell.examples * steps * per_step + cell.clean_examples * forward


def _attempt(estimate: Callable[[], float]) -> float | None:
    """An estimate, or None when the plugin's code for it fails: a plan must not be lost for that."""
    try:
        return estimate()
    except (Exception, SystemExit):
        return None


def _made(preparer: Preparer, key: str) -> str:
    return "done" if preparer.store.find(key) else "missing"


def _add_rounds(
    stages: dict[str, Stage], cell: Cell, keys: Keys, card: VictimCard, tokens: float, preparer: Preparer
) -> None:
    defense = cell.defense.plugin
    for number, (key, _) in enumerate(keys.rounds, start=1):
        if key not in stages and isinstance(defense, TrainedDefense):
            name = f"{cell.defense.name} round {number} for {cell.victim.label} on {cell.task.label}, seed {cell.seed}"
            flops = _attempt(partial(defense.estimate, card.n_params, tokens, number, cell.threat, preparer.resolve))
            stages[key] = Stage("defend", name, key, _made(preparer, key), flops)


def known_rate(folder: RunFolder | None) -> tuple[float, str] | None:
    """Nominal FLOP/s over the cells done in this run, if there are any."""
    from harness.records.read import read_run

    if folder is None or not folder.manifest.exists():
        return None
    flops = seconds = 0.0
    count = 0
    with suppress(DataError):  # a damaged record is the run's affair; what is whole will do here
        for cell in read_run(folder.root):
            steps = cell.steps(["attack_nominal", "judge_nominal", "seconds"]).to_pydict()
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
