"""Stacks of defenses: do they leave more or less of an attack's success than the product of what their parts leave?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from harness.records.cell_manifest import CellRecord, PluginRecord
from harness.records.read import Cell, Run
from leaderboard.arrays import Booleans
from leaderboard.data.comparable_cells import Section, sections
from leaderboard.data.trajectories import common_examples, read_trajectories
from leaderboard.fit.compared.stack_log_ratio import stack_log_ratio

Effect = Literal["above", "below", "not told apart", ""]
MIN_EXAMPLES = 5
MIN_EXPECTED = 3.0  # examples that fall if the parts are independent: with fewer no stack can be told to do more


@dataclass(frozen=True)
class StackEffect:
    """One stack on one victim under one attack, all at full budget, over the examples that every cell attacked.

    Attributes:
        asr_none, asr_parts, asr_stack: shares broken at any step.
        left: share of the undefended ASR that the stack leaves, ASR of the stack / ASR of none.
        product: the same as if the parts did not help or hinder each other: the product of what each leaves.
        log_ratio: ln(left / product): below 0 the stack is stronger than its parts' product; shares are smoothed by
            half a success and half a failure, so that an ASR of 0 has a logarithm.
        low, high: 95% interval of it, see `stack_log_ratio`.
        seeds: how many all cells have. With one, interval and effect are of this one model only.
        effect: ``above``: the stack's effect is larger than the product of its parts', the interval lies below 0;
            ``below``; ``not told apart``; "" where there is a note.
        note: why there are no numbers.
    """

    task: str
    threat: str
    victim: str
    attack: str
    stack: str
    parts: tuple[str, ...]
    adaptive: bool
    examples: int
    asr_none: float | None = None
    asr_parts: tuple[float, ...] = ()
    asr_stack: float | None = None
    left: float | None = None
    product: float | None = None
    log_ratio: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0
    effect: Effect = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON data, flat."""
        return asdict(self)


def stack_effects(runs: Sequence[Run]) -> list[StackEffect]:
    """Every stack of two parts or more in the runs, by section, victim, attack; seeds are pooled."""
    effects = []
    for section in sections(runs):
        by_victim_and_attack: dict[tuple[str, str], list[Cell]] = {}
        for cell in section.cells:
            by_victim_and_attack.setdefault((cell.record.victim.label, cell.record.attack.label), []).append(cell)
        for _, cells in sorted(by_victim_and_attack.items()):
            effects += _effects_of_attack(section, cells)
    return effects


CellsBySeed = Mapping[int, Cell]


def _effects_of_attack(section: Section, cells: Sequence[Cell]) -> list[StackEffect]:
    by_defense: dict[str, dict[int, Cell]] = {}
    for cell in cells:
        by_defense.setdefault(_defense_key_of(cell.record), {})[cell.record.seed] = cell
    stacks = [cells_of_stack for cells_of_stack in by_defense.values() if len(_parts(_any_record(cells_of_stack))) > 1]
    stacks.sort(key=lambda cells_of_stack: _any_record(cells_of_stack).defense.label)
    return [_effect(section, stack, by_defense) for stack in stacks]


def _effect(section: Section, stack: CellsBySeed, by_defense: Mapping[str, CellsBySeed]) -> StackEffect:
    record = _any_record(stack)
    parts, facts = _parts(record), record.defense_facts
    adaptive = facts is None or facts.adaptive
    part_keys = [_defense_key([part], adaptive, _round_of_part(record, index)) for index, part in enumerate(parts)]
    none_key = _defense_key([], True, None)
    identity: dict[str, Any] = {
        "task": section.scope.task,
        "threat": section.scope.threat,
        "victim": record.victim.label,
        "attack": record.attack.label,
        "stack": _stack_label(record),
        "parts": tuple(part.label for part in parts),
        "adaptive": adaptive,
    }
    lacking = [part.label for part, key in zip(parts, part_keys, strict=True) if key not in by_defense]
    if none_key not in by_defense:
        lacking.insert(0, "none")
    if lacking:
        static = "" if adaptive else ", static"
        return StackEffect(**identity, examples=0, note=f"no cells of {', '.join(lacking)} alone{static}, same round")
    broken, names = _common_examples([by_defense[none_key], *(by_defense[key] for key in part_keys), stack])
    examples = sum(len(of_seed) for of_seed in broken)
    if examples < MIN_EXAMPLES:
        return StackEffect(**identity, examples=examples, note=f"only {examples} examples were attacked in all cells")
    asr_none, *asr_parts, asr_stack = (float(share) for share in np.concatenate(broken).mean(axis=0))
    product = float(np.prod(np.array(asr_parts) / asr_none)) if asr_none > 0 else 0.0
    expected = examples * (asr_none * product)
    if expected < MIN_EXPECTED:
        return StackEffect(
            **identity, examples=examples, note=_too_few(examples, asr_none, asr_parts, asr_stack, expected)
        )
    ratio = stack_log_ratio(broken, names)
    return StackEffect(
        **identity,
        examples=examples,
        asr_none=asr_none,
        asr_parts=tuple(asr_parts),
        asr_stack=asr_stack,
        left=asr_stack / asr_none,
        product=product,
        log_ratio=ratio.value,
        low=ratio.low,
        high=ratio.high,
        seeds=len(broken),
        effect="above" if ratio.high < 0 else "below" if ratio.low > 0 else "not told apart",
    )


def _too_few(examples: int, asr_none: float, asr_parts: Sequence[float], asr_stack: float, expected: float) -> str:
    parts = ", ".join(f"{share:.0%}" for share in asr_parts)
    return (
        f"not enough data: ASR {asr_none:.0%} undefended, {parts} behind the parts, {asr_stack:.0%} behind the stack: "
        f"of {examples} examples {expected:.1f} would fall behind independent parts, and {MIN_EXPECTED:g} are needed"
    )


def _common_examples(columns: Sequence[CellsBySeed]) -> tuple[list[Booleans], list[tuple[str, ...]]]:
    """Of each seed that all cells have: whether each example that all of them attacked was broken, [examples, cells],
    and the examples' names.
    """
    seeds = set.intersection(*(set(cells) for cells in columns))
    common = common_examples([{seed: read_trajectories(cells[seed]) for seed in seeds} for cells in columns])
    broken = [np.stack([trajectories.so_far[:, -1] for trajectories in of_seed], axis=1) for of_seed in common]
    return broken, [of_seed[0].examples for of_seed in common]


def _any_record(cells: CellsBySeed) -> CellRecord:
    return next(iter(cells.values())).record


def _parts(record: CellRecord) -> list[PluginRecord]:
    facts = record.defense_facts
    if facts is not None and facts.parts:
        return [part.defense for part in facts.parts]
    return [] if record.defense.name == "none" else [record.defense]  # of older records


def _round_of_part(record: CellRecord, index: int) -> int | None:
    """The round of a part that trains weights."""
    facts = record.defense_facts
    if facts is None or not facts.parts:
        return None if facts is None else facts.round
    return facts.round if facts.parts[index].sort == "trained" else None


def _defense_key_of(record: CellRecord) -> str:
    facts, parts = record.defense_facts, _parts(record)
    rounds = [round for index in range(len(parts)) if (round := _round_of_part(record, index)) is not None]
    return _defense_key(parts, facts is None or facts.adaptive, rounds[0] if rounds else None)


def _defense_key(parts: Sequence[PluginRecord], adaptive: bool, round: int | None) -> str:
    return json.dumps([[[part.name, part.version, part.params] for part in parts], adaptive, round], sort_keys=True)


def _stack_label(record: CellRecord) -> str:
    facts = record.defense_facts
    return record.defense.label + (f" round {facts.round}" if facts is not None and facts.round is not None else "")
