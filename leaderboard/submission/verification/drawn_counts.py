"""Drawn answers asked for again: how many are broken, against how many the records say, over all strings of a row."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.records.cell_manifest import CellRecord
    from harness.replay.recorded import ReplayedString

MOST_APART = 4.0  # standard errors: honest counts are further apart in one row of 15,000
Counts = tuple[int, int, int, int]
"""Of one string, how many answers one round judged and broke, and how many the other."""


def drawn_count_problems(strings: Sequence[ReplayedString]) -> Iterator[str]:
    """Rows of the standings whose records say of more, or of fewer, drawn answers that they are broken than chance
    explains, each a line in words.

    Each string is a stratum: given how many of its answers are broken in the records and here together, how many of
    these stand in the records is hypergeometric (Mantel and Haenszel 1959).
    """
    rows: defaultdict[str, list[Counts]] = defaultdict(list)
    for string in strings:
        recorded = string.recorded
        if string.drawn is not None and recorded.draws:
            rows[row_text(string.record)].append((recorded.draws, recorded.broken_draws or 0, *string.drawn))
    for row, counts in rows.items():
        apart = abs(standard_errors_apart(counts))
        if apart > MOST_APART:
            one, broken, other, also_broken = (sum(column) for column in zip(*counts, strict=True))
            yield (
                f"row {row!a}: {broken} of {one} drawn answers to {len(counts)} strings are broken in the records, "
                f"{also_broken} of {other} here: {apart:.1f} standard errors apart"
            )


def row_text(record: CellRecord) -> str:
    """The row of the standings that a cell of an attack on texts stands in, in words."""
    labels = record.task.label, record.threat_label, record.victim.label, record.defense.label
    round_ = None if record.defense_facts is None else record.defense_facts.round
    return " · ".join(labels) + ("" if round_ is None else f" · round {round_}")


def standard_errors_apart(counts: Sequence[Counts]) -> float:
    """How far two rounds of answers to the same strings are apart, in standard errors, half an answer given; 0 where
    all answers of each string are alike.
    """
    more = variance = 0.0
    for one, broken, other, also_broken in counts:
        total, all_broken = one + other, broken + also_broken
        more += broken - one * all_broken / total
        variance += one * other * all_broken * (total - all_broken) / (total**2 * max(total - 1, 1))
    if not variance:
        return 0.0
    return math.copysign(max(abs(more) - 0.5, 0.0) / math.sqrt(variance), more)
