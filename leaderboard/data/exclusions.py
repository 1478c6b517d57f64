"""Examples that were not attacked, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.records.exclusion import kind_of_exclusion
from harness.records.read import Cell


def count_exclusions(cells: Sequence[Cell]) -> dict[str, int]:
    """How many examples of a victim and defense were left out for each reason, seeds pooled.

    All attacks leave out the same; where they do not, that with the most counts.

    Args:
        cells: of one victim, defense and round.
    """
    most: dict[int, Counter[str]] = {}
    for cell in cells:
        reasons = cell.examples(["excluded"]).column("excluded").drop_null().to_pylist()
        counts = Counter(kind_of_exclusion(reason) for reason in reasons)
        before = most.get(cell.record.seed, Counter())
        if counts.total() >= before.total():
            most[cell.record.seed] = counts
    return dict(sorted(sum(most.values(), Counter[str]()).items()))
