"""Stacks of defenses: do they leave more or less of an attack's success than the product of what their parts leave?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.records.cell import CellRecord, PluginRecord
from harness.records.read import Cell, Run
from leaderboard.data.sections import Section, sections
from leaderboard.data.trajectories import trajectories

Outcome = Literal["above", "below", "not told apart", ""]
DRAWS = 4000
LEVEL = 0.95
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
        low, high: 95% bootstrap interval of it, examples drawn anew together in all cells.
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
    effect: Outcome = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def stack_effects(runs: Sequence[Run]) -> list[StackEffect]:
    """Every stack of two parts or more in the runs, by section, victim, attack; seeds are pooled."""
    found = []
    for section in sections(runs):
        groups: dict[tuple[str, str], list[Cell]] = {}
        for cell in section.cells:
            groups.setdefault((cell.record.victim.label, cell.record.attack.label), []).append(cell)
        for _, cells in sorted(groups.items()):
            found += _of_group(section, cells)
    return found


def _of_group(section: Section, cells: Sequence[Cell]) -> list[StackEffect]:
    by_defense: dict[str, dict[int, Cell]] = {}
    for cell in cells:
        by_defense.setdefault(_identity(cell.record), {})[cell.record.seed] = cell
    effects = []
    for stack in sorted(
        (seeds for seeds in by_defense.values() if len(_parts(next(iter(seeds.values())).record)) > 1),
        key=lambda seeds: next(iter(seeds.values())).record.defense.label,
    ):
        effects.append(_effect(section, stack, by_defense))
    return effects


def _effect(section: Section, stack: Mapping[int, Cell], by_defense: Mapping[str, Mapping[int, Cell]]) -> StackEffect:
    record = next(iter(stack.values())).record
    parts, facts = _parts(record), record.defense_facts
    adaptive = facts is None or facts.adaptive
    wanted = [_key([part], adaptive, _round(record, i)) for i, part in enumerate(parts)]
    base: dict[str, Any] = {
        "task": section.scope.task,
        "threat": section.scope.threat,
        "victim": record.victim.label,
        "attack": record.attack.label,
        "stack": _name(record),
        "parts": tuple(part.label for part in parts),
        "adaptive": adaptive,
    }
    lacking = [part.label for part, key in zip(parts, wanted, strict=True) if key not in by_defense]
    if _key([], True, None) not in by_defense:
        lacking.insert(0, "none")
    if lacking:
        how = "" if adaptive else ", static"
        return StackEffect(**base, examples=0, note=f"no cells of {', '.join(lacking)} alone{how}, same round")
    columns = [by_defense[_key([], True, None)], *(by_defense[key] for key in wanted), stack]
    won = _shared(columns)
    if len(won) < MIN_EXAMPLES:
        return StackEffect(**base, examples=len(won), note=f"only {len(won)} examples were attacked in all cells")
    asr = won.mean(axis=0)
    expected = len(won) * float(asr[0] * np.prod(asr[1:-1] / asr[0])) if asr[0] > 0 else 0.0
    if expected < MIN_EXPECTED:
        return StackEffect(**base, examples=len(won), note=_too_few(len(won), asr, expected))
    ratio = float(_log_ratio(won[None])[0])
    rng = np.random.default_rng(0)
    drawn = won[rng.integers(len(won), size=(DRAWS, len(won)))]
    low, high = (float(x) for x in np.quantile(_log_ratio(drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return StackEffect(
        **base,
        examples=len(won),
        asr_none=float(asr[0]),
        asr_parts=tuple(float(x) for x in asr[1:-1]),
        asr_stack=float(asr[-1]),
        left=float(asr[-1] / asr[0]),
        product=float(np.prod(asr[1:-1] / asr[0])),
        log_ratio=ratio,
        low=low,
        high=high,
        effect="above" if high < 0 else "below" if low > 0 else "not told apart",
    )


def _too_few(examples: int, asr: NDArray[np.float64], expected: float) -> str:
    parts = ", ".join(f"{share:.0%}" for share in asr[1:-1])
    return (
        f"not enough data: ASR {asr[0]:.0%} undefended, {parts} behind the parts, {asr[-1]:.0%} behind the stack: of "
        f"{examples} examples {expected:.1f} would fall behind independent parts, and {MIN_EXPECTED:g} are needed"
    )


def _log_ratio(won: NDArray[np.bool_]) -> NDArray[np.float64]:
    """ln of what the stack leaves over the product of what its parts leave; [draws, examples, none + parts + stack]."""
    n = won.shape[1]
    logs = np.log((won.sum(axis=1) + 0.5) / (n + 1))
    found: NDArray[np.float64] = logs[:, -1] - logs[:, 1:-1].sum(axis=1) + (logs.shape[1] - 3) * logs[:, 0]
    return found


def _shared(columns: Sequence[Mapping[int, Cell]]) -> NDArray[np.bool_]:
    """Whether each example that all cells attacked under the same seed was broken, [examples, cells]."""
    rows = []
    for seed in sorted(set.intersection(*(set(cells) for cells in columns))):
        paths = [trajectories(cells[seed]) for cells in columns]
        names = sorted(set.intersection(*(set(found.examples) for found in paths)))
        if names and all(found.at_step.shape[1] for found in paths):
            rows.append(np.stack([found.only(names).so_far[:, -1] for found in paths], axis=1))
    return np.concatenate(rows) if rows else np.zeros((0, len(columns)), dtype=np.bool_)


def _parts(record: CellRecord) -> list[PluginRecord]:
    facts = record.defense_facts
    if facts is not None and facts.parts:
        return [part.defense for part in facts.parts]
    return [] if record.defense.name == "none" else [record.defense]  # of older records


def _round(record: CellRecord, part: int) -> int | None:
    """The round of a part that trains weights."""
    facts = record.defense_facts
    if facts is None or not facts.parts:
        return None if facts is None else facts.round
    return facts.round if facts.parts[part].sort == "trained" else None


def _identity(record: CellRecord) -> str:
    facts, parts = record.defense_facts, _parts(record)
    rounds = [r for i in range(len(parts)) if (r := _round(record, i)) is not None]
    return _key(parts, facts is None or facts.adaptive, rounds[0] if rounds else None)


def _key(parts: Sequence[PluginRecord], adaptive: bool, round: int | None) -> str:
    return json.dumps([[[part.name, part.version, part.params] for part in parts], adaptive, round], sort_keys=True)


def _name(record: CellRecord) -> str:
    facts = record.defense_facts
    return record.defense.label + (f" round {facts.round}" if facts is not None and facts.round is not None else "")
