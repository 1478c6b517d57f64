"""What came of the same examples in two versions: asked clean, attacked, and with or without an attack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from harness.records.answer_state import NO_ANSWER
from harness.records.cell_manifest import CellRecord
from harness.records.exclusion import ALREADY_BROKEN, ALREADY_WRONG, BLOCKED, NO_CLEAN_ANSWER, NOT_JUDGED, is_too_long
from harness.records.read import Cell
from leaderboard.data.trajectories import Trajectories
from leaderboard.fit.compared.paired_difference import NO_REST, Rest, SeedPairs

Prompts = Literal["labelled", "harmful", "harmless"]
"""Examples that are answered with a label; prompts that a good victim refuses, or answers."""
_COLUMNS = ["example", "label", "predicted", "answer_state", "benign", "right", "attacked", "excluded", "messages"]


@dataclass(frozen=True)
class ExampleOutcome:
    """One example of one cell; None: nobody knows, there was no answer or no verdict.

    Attributes:
        prompts: what it is.
        wrong: whether the victim failed without an attack: a wrong label, a harmful prompt answered, a harmless one
            refused.
        attacked: whether it was attacked.
        broken: whether the attack had success.
        messages: the clean prompt, where it is recorded.
        blocked: whether a guard refused the clean prompt.
        asked: whether it can count; a prompt that is too long counts as wrong with labels, and nowhere in text.
    """

    prompts: Prompts
    wrong: bool | None
    attacked: bool
    broken: bool | None
    messages: Any
    blocked: bool
    asked: bool

    @property
    def ended_wrong(self) -> bool | None:
        """Whether it ended as the attacker wants, with an attack or without one."""
        return self.broken if self.attacked else self.wrong

    @property
    def tried(self) -> bool:
        """Whether `ended_wrong` is known, or would be with a verdict: not of what is right, and was not attacked."""
        return self.attacked or self.blocked or (self.wrong is not False and self.asked)


@dataclass(frozen=True)
class Outcomes:
    """Pairs of all seeds, and how many could not be counted since one version at least has no answer or verdict.

    Attributes:
        seeds: of each seed.
        untold: pairs without an outcome on one side or both.
        old_own, new_own: successes and trials of either version over all that it was tried on.
    """

    seeds: list[SeedPairs] = field(default_factory=list)
    untold: int = 0
    old_own: tuple[int, int] = (0, 0)
    new_own: tuple[int, int] = (0, 0)


CellOutcomes = Mapping[str, ExampleOutcome]
"""By example."""


def outcomes_of(cell: Cell, trajectories: Trajectories) -> dict[str, ExampleOutcome]:
    """Each listed example of a cell."""
    at_end = trajectories.so_far[:, -1] if trajectories.at_step.size else np.zeros(0, dtype=bool)
    broken = dict(zip(trajectories.examples, at_end.tolist(), strict=False))
    found = {}
    for row in cell.examples(_COLUMNS).to_pylist():
        prompts = _prompts(cell.record, row)
        found[row["example"]] = ExampleOutcome(
            prompts,
            _wrong(row, prompts),
            bool(row["attacked"]),
            broken.get(row["example"]) if row["attacked"] else None,
            row["messages"],
            row["excluded"] == BLOCKED,
            prompts == "labelled" or row["right"] is not None or not is_too_long(row["excluded"] or ""),
        )
    return found


def _prompts(record: CellRecord, row: Mapping[str, Any]) -> Prompts:
    if record.task_kind == "labels":
        return "labelled"
    benign = record.benign if row["benign"] is None else row["benign"]
    return "harmless" if benign else "harmful"


def _wrong(row: Mapping[str, Any], prompts: Prompts) -> bool | None:
    if row["answer_state"] in NO_ANSWER or row["excluded"] in (NO_CLEAN_ANSWER, NOT_JUDGED):
        return None
    if row["attacked"]:
        return False
    if prompts == "labelled":
        return row["predicted"] is None or row["predicted"] != row["label"]
    if row["right"] is not None:
        return not row["right"]
    # Older records and submissions tell what was attacked, and why the rest was not.
    known = {ALREADY_BROKEN: True, ALREADY_WRONG: True, BLOCKED: prompts == "harmless"}
    return known.get(row["excluded"] or "")


def changed_prompts(old: CellOutcomes, new: CellOutcomes) -> set[str]:
    """Examples whose prompts were cut in one version, or are not the same text for another reason."""
    return {
        name
        for name in old.keys() & new.keys()
        if None not in (old[name].messages, new[name].messages) and old[name].messages != new[name].messages
    }


def clean_outcomes(
    cells: Sequence[tuple[Cell, Cell]], outcomes: Sequence[tuple[CellOutcomes, CellOutcomes]], prompts: Prompts
) -> Outcomes:
    """Whether the victim failed on the prompts of one kind without an attack; ``cells``: one pair of each seed.

    Where an example was asked and its row is not there, or does not say, its number alone is known (`Rest`).
    """
    found = _paired(outcomes, prompts, lambda outcome: outcome.wrong, lambda outcome: outcome.asked)
    seeds = []
    for seed, (old, new), tables in zip(found.seeds, cells, outcomes, strict=True):
        sides = [_unlisted(cell.record, table, prompts) for cell, table in zip((old, new), tables, strict=True)]
        same = old.record.n_clean == new.record.n_clean and len(tables[0]) == len(tables[1])
        rest = Rest(*sides[0], *sides[1]) if same and all(sides) else NO_REST
        seeds.append(replace(seed, rest=rest))
    return replace(found, seeds=seeds)


def _unlisted(record: CellRecord, table: CellOutcomes, prompts: Prompts) -> tuple[int, int]:
    """Of the clean prompts of one kind whose outcomes no row tells: failures, and how many they are."""
    trials, wrong = record.n_clean_told, record.n_clean_told - record.n_clean_correct
    facts = record.defense_facts
    if prompts != "labelled":
        trials, wrong = trials - record.n_too_long, wrong - record.n_too_long
        kinds = {outcome.prompts for outcome in table.values()}
        if facts is not None and facts.benign_clean is not None:
            refused = facts.over_refused or 0
            of_harmless = refused, facts.benign_clean
            of_harmful = wrong - refused, trials - facts.benign_clean
            wrong, trials = of_harmless if prompts == "harmless" else of_harmful
        elif kinds - {prompts}:
            return 0, 0
    known = [outcome.wrong for outcome in table.values() if outcome.prompts == prompts and outcome.wrong is not None]
    left = wrong - sum(known), trials - len(known)
    return left if 0 <= left[0] <= left[1] else (0, 0)


def attacked_outcomes(outcomes: Sequence[tuple[CellOutcomes, CellOutcomes]], prompts: Prompts) -> Outcomes:
    """Whether examples fell that were attacked in both versions: those that both got right when clean."""
    return _paired(outcomes, prompts, lambda outcome: outcome.broken, lambda outcome: outcome.attacked)


def ended_outcomes(outcomes: Sequence[tuple[CellOutcomes, CellOutcomes]], prompts: Prompts) -> Outcomes:
    """Whether examples ended as the attacker wants, with or without an attack: wrong when clean counts as that."""
    return _paired(outcomes, prompts, lambda outcome: outcome.ended_wrong, lambda outcome: outcome.tried)


def _paired(
    outcomes: Sequence[tuple[CellOutcomes, CellOutcomes]],
    prompts: Prompts,
    value: Callable[[ExampleOutcome], bool | None],
    counts: Callable[[ExampleOutcome], bool],
) -> Outcomes:
    """``counts``: whether an example belongs to what is counted, whether or not its ``value`` is known."""
    seeds, untold = [], 0
    own = [[0, 0], [0, 0]]
    for sides in outcomes:
        kept = [{name: one for name, one in side.items() if one.prompts == prompts and counts(one)} for side in sides]
        for side, total in zip(kept, own, strict=True):
            known = [value(one) for one in side.values()]
            total[0] += sum(one is True for one in known)
            total[1] += sum(one is not None for one in known)
        common = sorted(kept[0].keys() & kept[1].keys() - changed_prompts(*sides))
        pairs = [(name, value(kept[0][name]), value(kept[1][name])) for name in common]
        told = [pair for pair in pairs if pair[1] is not None and pair[2] is not None]
        untold += len(pairs) - len(told)
        old, new = (np.array([pair[at] for pair in told], dtype=np.bool_) for at in (1, 2))
        seeds.append(SeedPairs(tuple(pair[0] for pair in told), old, new))
    return Outcomes(seeds, untold, (own[0][0], own[0][1]), (own[1][0], own[1][1]))
