"""The utility of a row: what its victim and defense make of clean examples of the attacked task and of others, and what
the defense loses of it against the undefended victim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.records.cell_manifest import CellRecord
from harness.records.exclusion import CleanMeasure
from harness.records.read import Cell
from leaderboard.data.comparable_cells import Scope, Section
from leaderboard.data.record_facts import defense_round, is_as_it_came, victim_facts
from leaderboard.fit.compared.paired_difference import PairedDifference, paired_difference
from leaderboard.fit.pooled_rates import Rate
from leaderboard.standings.clean_rate import clean_rate
from leaderboard.standings.utility.clean_outcomes import CleanOutcomes, told
from leaderboard.standings.utility.pareto import Front

UNDEFENDED = "none"
_NO_UTILITY = {True: "its prompts are harmful, so refusing them is not a loss", False: "no numbers"}


@dataclass(frozen=True)
class Utility:
    """A share of clean examples that a victim and defense get right.

    Attributes:
        task: label of the task.
        measure: accuracy, or the share of harmless prompts that are answered, which is 1 less over-refusal.
        own: whether the task is the one that the row was attacked on.
        bounded: whether the spec's bound is for it: it is the row's own, or the spec names it.
        rate: seeds pooled; None where the records hold no number of it.
        loss: of the undefended victim's share, over the seeds that both have; None of the undefended victim, and
            where it is not known.
        remade: whether it is of another model than the row's, trained the same way for this task.
        note: why there is no number, or "".
        front: where the row stands among the others of its table; None where that was not asked.
    """

    task: str
    measure: CleanMeasure
    own: bool
    bounded: bool
    rate: Rate | None
    loss: PairedDifference | None
    remade: bool = False
    note: str = ""
    front: Front | None = None


_SpecScope = tuple[str, str]
_Model = tuple[str, str, str, int]
"""Family, victim, defense and round."""


@dataclass(frozen=True)
class _Measured:
    """The clean cells of one task: of each model and threat model one cell for each seed."""

    measure: CleanMeasure
    attacked: bool
    cells: dict[_Model, dict[str, dict[int, Cell]]] = field(default_factory=dict)

    def of(self, model: _Model, threat: str) -> Mapping[int, Cell]:
        """Under this threat model, else under the first that there is: what it changes is a trained defense."""
        by_threat = self.cells.get(model, {})
        return by_threat.get(threat) or (by_threat[min(by_threat)] if by_threat else {})


class UtilityTables:
    """Every task of some sections that shows utility, and the rows' numbers of it."""

    def __init__(self, sections: Iterable[Section]) -> None:
        self._tasks: dict[_SpecScope, dict[str, _Measured]] = {}
        self._harmful: set[tuple[_SpecScope, str]] = set()
        self._outcomes = CleanOutcomes()
        for section in sections:
            if not section.shows_utility:
                self._harmful.add((_spec_scope(section.scope), section.scope.task))
            elif section.cells:
                self._add(section)

    def _add(self, section: Section) -> None:
        of_scope = self._tasks.setdefault(_spec_scope(section.scope), {})
        attacked = any(cell.record.n_attacked and cell.record.attack.name != "none" for cell in section.cells)
        there = of_scope.get(section.scope.task)
        if there is None or (attacked and not there.attacked):
            cells = {} if there is None else there.cells
            there = of_scope[section.scope.task] = _Measured(section.clean_measure, attacked, cells)
        for cell in section.cells:
            by_seed = there.cells.setdefault(_model(cell.record), {}).setdefault(section.scope.threat, {})
            by_seed.setdefault(cell.record.seed, cell)

    def of_row(self, section: Section, cells: Sequence[Cell], clean: Rate | None) -> tuple[Utility, ...]:
        """Own first. Other tasks are those that the spec names, or where it names none those that are asked clean alone
        of this very model.

        Args:
            cells: of one row of the section.
            clean: its clean share.
        """
        scope = _spec_scope(section.scope)
        tasks = self._tasks.get(scope, {})
        own, named = section.scope.task, set(section.utility_tasks)
        found: list[Utility] = []
        if own in tasks:
            found.append(replace(self._utility(tasks[own], section, cells, own, bounded=True), rate=clean))
        for task in sorted(tasks.keys() - {own}):
            utility = self._utility(tasks[task], section, cells, task, bounded=task in named)
            if utility.bounded or not (named or tasks[task].attacked or utility.remade or utility.rate is None):
                found.append(utility)
        for task in sorted(named - tasks.keys()):
            harmful = (scope, task) in self._harmful
            if not (harmful and task == own):
                found.append(Utility(task, "clean accuracy", False, not harmful, None, None, note=_NO_UTILITY[harmful]))
        return tuple(found)

    def _utility(
        self, measured: _Measured, section: Section, cells: Sequence[Cell], task: str, *, bounded: bool
    ) -> Utility:
        record, threat = cells[0].record, section.scope.threat
        model = _model(record)
        of_model = {seed: cell for seed, cell in measured.of(model, threat).items() if told(cell)}
        loss = None
        if record.defense.name != UNDEFENDED:
            undefended = measured.of((model[0], model[1], UNDEFENDED, 0), threat)
            both = sorted(seed for seed in of_model.keys() & undefended.keys() if told(undefended[seed]))
            pairs = [self._outcomes.pairs(of_model[seed], undefended[seed]) for seed in both]
            loss = paired_difference(pairs, one_model=all(is_as_it_came(of_model[seed].record) for seed in both))
        own = task == section.scope.task
        rate = None if own else clean_rate(list(of_model.values()))
        return Utility(
            task=task,
            measure=measured.measure,
            own=own,
            bounded=bounded,
            rate=rate,
            loss=loss,
            remade=not own and any(_trained_for_its_task(cell.record) for cell in of_model.values()),
            note="" if of_model else _NO_UTILITY[False],
        )


def _spec_scope(scope: Scope) -> _SpecScope:
    return scope.spec_hash, scope.accounting


def _model(record: CellRecord) -> _Model:
    return victim_facts(record).family, record.victim.label, record.defense.label, defense_round(record)


def _trained_for_its_task(record: CellRecord) -> bool:
    """Whether the victim, or its defense, was trained on the data of the cell's task."""
    trained = record.defense_facts is not None and record.defense_facts.round is not None
    return trained or bool(victim_facts(record).preparation.nominal)
