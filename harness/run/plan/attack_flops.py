"""What the attack on a cell will compute, from sizes, the length of prompts, and a dry run of its plugins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.api.runtime_defense import GuardDefense, RuntimeDefense
from harness.api.task import TaskData
from harness.api.victim import VictimCard
from harness.engine.dry_run import dry_run_attack, dry_run_judge, pipeline_flops
from harness.flops import nominal_forward
from harness.records.model_role import ModelRole, asked_by
from harness.registry.defense_stack import is_randomised
from harness.spec.cells import CellSpec


@dataclass(frozen=True, slots=True)
class UnitFlops:
    """What one unit of a cell's work takes, nominal FLOPs; NaN: unknown.

    Attributes:
        clean: a clean prompt asked and judged.
        attack: a step on one example, with what the defense adds.
        judging: the verdict on that step's string.
    """

    clean: float
    attack: float
    judging: float


def attack_flops(
    cell: CellSpec, card: VictimCard, tokens: float, sizes: Mapping[ModelRole, int | None], data: TaskData
) -> float:
    """Nominal FLOPs of a cell: clean check, attack steps, judging; as if every example were attacked. NaN: unknown.

    Args:
        tokens: of a prompt, attack string included.
        sizes: parameters of the auxiliary models; a role that the victim takes itself is left out.
    """
    unit = unit_flops(cell, card, tokens, sizes, data)
    steps: int = cell.attack.plugin.params.steps
    return cell.examples * steps * (unit.attack + unit.judging) + cell.clean_examples * unit.clean


def unit_flops(
    cell: CellSpec, card: VictimCard, tokens: float, sizes: Mapping[ModelRole, int | None], data: TaskData
) -> UnitFlops:
    """The parts of `attack_flops`, whose arguments these are."""
    answer = 0 if data.labels else cell.answers.longest(data.answer_tokens)
    defenses = [part.plugin for part in cell.runtime]
    defense_sizes = [asked_by(sizes, "defense", place) for place in range(len(defenses))]
    judging = dry_run_judge(cell.judge.plugin).nominal(0, 0.0, asked_by(sizes, "judge"))  # of one answer
    judged = pipeline_flops(defenses, defense_sizes, card.n_params, tokens, answer)
    clean = judged if data.labels else judged + judging
    judged += judging if answer else 0.0
    if cell.answers.drawn:
        judged *= cell.answers.samples
    elif is_randomised(cell.defense):
        judged *= cell.judge_draws
    if answer:  # the loss of the target: once where nothing but the answer is drawn
        once = cell.answers.drawn and not any(plugin.randomised or _reads_answers(plugin) for plugin in defenses)
        losses = cell.answers.samples if cell.answers.drawn else cell.judge_draws if is_randomised(cell.defense) else 1
        judged += nominal_forward(card.n_params, 1) * tokens * (1 if once else losses)
    attack = dry_run_attack(cell.attack.plugin, cell.threat, data)
    per_step = attack.nominal(card.n_params, tokens, asked_by(sizes, "attack"))
    if not cell.static:
        draws = cell.attack_draws if any(plugin.loss_varies for plugin in defenses) else 1
        defended = draws * pipeline_flops(defenses, defense_sizes, card.n_params, tokens, loss=True)
        per_step += attack.scored * (defended - nominal_forward(card.n_params, 1) * tokens)
        if attack.answered:  # each of them goes the way of a verdict, with the attack's own words
            words = attack.text_tokens / attack.answered
            answered = pipeline_flops(defenses, defense_sizes, card.n_params, tokens, words)
            per_step += attack.answered * (answered - nominal_forward(card.n_params, 1) * (tokens + words))
    return UnitFlops(clean, per_step, judged)


def _reads_answers(defense: RuntimeDefense) -> bool:
    return isinstance(defense, GuardDefense) and defense.reads == "answer"
