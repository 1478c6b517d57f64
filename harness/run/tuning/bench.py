"""Where candidates are tried: cells made ready once, and training examples that their victims get right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.api.problem.problem import Problem
from harness.api.task import Example, TaskData
from harness.engine.search.budget import SearchBudget
from harness.engine.search.search import Search
from harness.errors import DataError, PluginError
from harness.number_format import counted
from harness.records.step_row import StepRow, untold_examples
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.rng import named_rng
from harness.run.cell.attack import check_access, check_inner_attacks
from harness.run.cell.clean_check import check_clean, choose_examples
from harness.run.cell_label import cell_label
from harness.run.prepare.preparer import Preparer
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.run.prepare.training_rounds import why_not_trained
from harness.run.tuning.costs import CostedCell, attack_with, halves, quote, why_refused
from harness.run.tuning.trial import CellOutcome
from harness.run.tuning.trials import PARTS, Quote
from harness.store.artifacts import Artifact


def training_examples(data: TaskData, count: int, seed: int) -> list[Example]:
    """So many of the task's training examples, in random order; never one that a benchmark attacks.

    Raises:
        DataError: there are none that can be attacked.
    """
    attackable = [example for example in data.train if example.attackable]
    if not attackable:
        raise DataError(
            "the task has no training examples to attack, and those of the validation split belong to the benchmark; "
            "tune on a task that has some"
        )
    order = named_rng("tuning", "examples", seed, data.hash).permutation(len(attackable))[:count]
    return [attackable[int(place)] for place in order]


def only(data: TaskData, examples: Sequence[Example]) -> TaskData:
    """The task with these examples in the place of its validation split, and no others."""
    return replace(data, train=(), validation=tuple(examples))


@dataclass(frozen=True)
class TunedCell:
    """A cell on which candidates are tried.

    Attributes:
        costed: what its costs depend on.
        weights: of the model that is attacked.
        problems: the examples.
        clean_flops: nominal, that it took to see which examples the victim gets right.
    """

    costed: CostedCell
    weights: Artifact
    problems: Sequence[Problem]
    clean_flops: float

    def part(self, part: int) -> Sequence[Problem]:
        """The examples of one half."""
        first = self.costed.parts[0]
        return self.problems[:first] if part == 0 else self.problems[first:]


class TuningBench:
    """Tries candidates of one attack on cells.

    Args:
        cells: made ready (see `ready_cell`).
        attack: as the spec has it.
        per_example: nominal FLOPs that a candidate may spend, mean over cells.
        key: of the search; with seed, example and step, what the randomness of all candidates alike depends on.
    """

    def __init__(
        self,
        cells: Sequence[TunedCell],
        attack: ResolvedPlugin,
        per_example: float,
        key: str,
        preparer: Preparer,
    ) -> None:
        self._cells, self._attack, self._per_example, self._key = cells, attack, per_example, key
        self._preparer = preparer

    def quote(self, values: Mapping[str, Any]) -> Quote:
        """What trying a candidate takes at most; asks no model."""
        try:
            attack = attack_with(self._attack, dict(values), self._preparer.resolver)
            for cell in self._cells:
                attack.plugin.check(cell.costed.data)
        except (PluginError, DataError) as error:
            return Quote(0, why=why_refused(error))
        costed = [cell.costed for cell in self._cells]
        return quote(costed, attack, self._per_example, self._preparer.resolver)[0]

    def run(self, values: Mapping[str, Any], steps: int, part: int) -> list[CellOutcome]:
        """Try a candidate on one half of the examples of each cell."""
        resolver = self._preparer.resolver
        attack = attack_with(self._attack, {**values, "steps": steps}, resolver)
        costed = [cell.costed for cell in self._cells]
        caps = quote(costed, attack, self._per_example, resolver)[1]
        total = sum(len(cell.part(part)) for cell in self._cells)
        found: list[CellOutcome] = []
        for cell, cap in zip(self._cells, caps, strict=True):
            found.append(self._run_in(cell, attack, cap, part))
            done = sum(outcome.examples for outcome in found)
            self._preparer.reporter.progress(f"half {part + 1} of {PARTS}, examples attacked", done, total)
        return found

    def _run_in(self, cell: TunedCell, attack: ResolvedPlugin, cap: float, part: int) -> CellOutcome:
        problems = cell.part(part)
        if not problems:
            return CellOutcome(0, 0, (), 0.0, 0.0, 0)
        resolved = self._preparer.resolver.resolve(replace(cell.costed.resolved.spec, attack=attack))
        prepared, spec = self._preparer.prepare(resolved, cell.weights), resolved.spec
        search = Search(
            prepared.attack_router,
            spec.attack.plugin,
            (spec.seed, self._key, "tuning"),
            spec.threat.access,
            prepared.judge,
            stop_on_success=True,  # ASR at any step is the same, and the rest of the budget is saved
            budget=SearchBudget(spec.threat.queries, min(cap, spec.threat.flops or math.inf)),
            note=self._preparer.reporter.note,
        )
        return outcome(search.run(problems).rows, len(problems))


def outcome(rows: Sequence[StepRow], examples: int) -> CellOutcome:
    """What came of a search."""
    lowest: dict[str, float] = {}
    for row in rows:
        if row.loss is not None and math.isfinite(row.loss):
            lowest[row.example] = min(row.loss, lowest.get(row.example, math.inf))
    attack = sum(row.attack_nominal + row.defense_nominal for row in rows)
    return CellOutcome(
        broken=len({row.example for row in rows if row.success}),
        told=examples - len(untold_examples(rows)),
        losses=tuple(lowest[example] for example in sorted(lowest)),
        flops=attack + sum(row.judge_nominal for row in rows),
        attack_flops=attack,
        examples=examples,
    )


def ready_cell(cell: ResolvedCell, preparer: Preparer, count: int, seed: int) -> TunedCell | None:
    """Make what the cell attacks, and see which training examples its victim gets right; None where a defense's budget
    ended before the cell's round, which the reporter is told.

    Raises:
        DataError: there is no example to attack.
        AccessError, VictimError, PluginError: the cell cannot be run.
    """
    spec, label = cell.spec, cell_label(cell.spec)
    check_access(spec, cell.data)
    check_inner_attacks(spec, cell.data, preparer.resolver.attack)
    weights = preparer.weights(cell)
    if reason := why_not_trained(spec, weights):
        preparer.reporter.note(f"{label}: left out: {reason}")
        return None
    prepared = preparer.prepare(cell, weights)
    examples = training_examples(cell.data, count, seed)
    names = spec.seed, cell.keys.pipeline, "tuning"
    clean = check_clean(prepared.judge, examples, names)
    chosen = replace(spec, examples=len(examples), clean_examples=len(examples), too_long="exclude")
    problems, rows = choose_examples(prepared.victim, chosen, examples, clean, prepared.attack_router.victim)
    if not problems:
        why = next((row["excluded"] for row in rows), "")
        raise DataError(f"{label}: none of {counted(len(examples), 'training example')} can be attacked: {why}")
    for remark in spec.attack.plugin.remarks(problems):
        preparer.reporter.note(f"{label}: {remark}")
    lengths = [len(problem.before) + problem.budget + len(problem.after) for problem in problems]
    card = replace(spec.victim.plugin.card(cell.data), n_params=prepared.victim.backend.n_params)
    costed = CostedCell(
        cell,
        only(cell.data, [problem.example for problem in problems]),
        card,
        sum(lengths) / len(lengths),
        max(lengths),
        halves(len(problems), spec.attack.plugin.group()),
    )
    return TunedCell(costed, weights, problems, clean.cost.nominal)
