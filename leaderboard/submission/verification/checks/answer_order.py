"""Which of several drawn answers came first, and so decided the verdict: by chance alone, or chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from harness.records.cell_manifest import CellRecord
from leaderboard.arrays import Floats, Integers
from leaderboard.submission.verification.drawn_counts import MOST_APART, row_text
from leaderboard.submission.verification.submitted_rows import SubmittedRows

LEAST_CHANCE = 1 / 15_000  # of as few or as many first successes, or fewer or more: that of an honest row
_Kind = tuple[int, int, int]
"""Answers to a string, those of them that are broken, and how many decide."""
_NEARLY_NORMAL = 400.0  # variance of a count from which on the normal distribution stands for it


@dataclass
class AnswerOrder:
    """How often the answers that came first decided for a success, in each row of the standings.

    Attributes:
        rows: by row, in words, how many strings of each kind there are, and how many of them count as a success.
    """

    rows: dict[str, tuple[Counter[_Kind], Counter[_Kind]]] = field(default_factory=dict)

    def add_cell(self, record: CellRecord, steps: SubmittedRows) -> None:
        """Take up the steps of a cell whose answers are drawn."""
        drawn = record.samples
        if not drawn or not len(steps):
            return
        asks = record.threat.get("asks")
        deciding = asks if isinstance(asks, int) else 1
        whole = ~steps["has_failure"] & (steps["drawn"] == drawn) & ~steps.booleans("drawn_odd")
        strings, successes = self.rows.setdefault(row_text(record), (Counter(), Counter()))
        found = np.stack([steps.floats("drawn_broken"), steps.floats("success")], axis=1)[whole]
        kinds, counts = np.unique(found, axis=0, return_counts=True)
        for (broken, success), count in zip(kinds.tolist(), counts.tolist(), strict=True):
            strings[drawn, int(broken), deciding] += count
            successes[drawn, int(broken), deciding] += count * int(success)

    def problems(self) -> Iterator[str]:
        """Rows whose first answers are otherwise than the rest of their answers, each a line in words.

        All answers to a string are drawn alike. So of those there are, which came first is chance, and whether one of
        the first j is broken has the chance 1 − C(k − c, j) / C(k, j), with c of k broken.
        """
        for row, (strings, successes) in self.rows.items():
            chances = {kind: chance_of_success(*kind) for kind in strings}
            mixed = [kind for kind, chance in chances.items() if 0 < chance < 1]
            if not mixed:
                continue
            counts = np.array([strings[kind] for kind in mixed])
            chance = np.array([chances[kind] for kind in mixed])
            found = sum(successes[kind] for kind in mixed)
            if is_chosen(counts, chance, found):
                yield (
                    f"row {row!a}: {found:,} of {counts.sum():,} strings with answers of both sorts are a success "
                    f"by the answers that came first, where chance would make it {counts @ chance:,.1f}: the order "
                    f"of the answers is not that in which they were drawn"
                )


def chance_of_success(drawn: int, broken: int, deciding: int) -> float:
    """That of ``drawn`` answers, ``broken`` of them a success, one is among the first ``deciding``."""
    whole = drawn - broken
    none = 1.0
    for place in range(min(deciding, drawn)):
        none *= max(whole - place, 0) / (drawn - place)
    return 1.0 - none


def is_chosen(counts: Integers, chances: Floats, found: int) -> bool:
    """Whether ``found`` successes of strings, ``counts`` with each of ``chances``, are further from what is expected
    than an honest row in 15,000: exactly where the strings are few, since such counts are skewed.
    """
    variance = float(counts @ (chances * (1 - chances)))
    apart = abs(found - float(counts @ chances))
    if variance > _NEARLY_NORMAL:
        return bool(apart - 0.5 > MOST_APART * np.sqrt(variance))
    total = int(counts.sum())
    turn = np.exp(-2j * np.pi * np.arange(total + 1) / (total + 1))
    wave = np.ones(total + 1, dtype=np.complex128)
    for count, chance in zip(counts.tolist(), chances.tolist(), strict=True):
        wave *= (1 - chance + chance * turn) ** count
    mass = np.fft.ifft(wave).real  # of each count of successes: the inverse of its characteristic function
    return bool(2 * min(mass[: found + 1].sum(), mass[found:].sum()) < LEAST_CHANCE)
