"""Which changes of a spec would save most of the time that is left, and how much of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum

from harness.records.planned import PlannedCell
from harness.run.plan.chosen_cells import KINDS, label_of
from harness.run.plan.estimate import Plan

FEW = 0.05
"""A change that saves less than this share is not worth a line."""


@dataclass(frozen=True, slots=True)
class Saving:
    """A change, in words, and the share of the time left that it saves."""

    change: str
    share: float


def savings(plan: Plan, cells: Sequence[PlannedCell]) -> list[Saving]:
    """For each kind of label the one whose cells take most by themselves, and half the examples; largest share first.

    What several labels need, such as a victim that two attacks meet, is saved by leaving out neither of them. Nothing
    where no time is known.
    """
    seconds = {stage.key: plan.seconds(stage) or 0.0 for stage in plan.stages if stage.status != "done"}
    total = sum(seconds.values())
    if total == 0:
        return []
    found = [*_left_out(plan.needs, cells, seconds), *_fewer_examples(plan)]
    shares = [Saving(change, saved / total) for change, saved in found if saved >= FEW * total]
    return sorted(shares, key=lambda one: -one.share)


def _left_out(
    needs: Mapping[str, frozenset[str]], cells: Sequence[PlannedCell], seconds: Mapping[str, float]
) -> Iterator[tuple[str, float]]:
    for kind in KINDS:
        kept: dict[str, set[str]] = {}
        for cell in cells:
            kept.setdefault(label_of(cell, kind), set()).update(needs[cell.key])
        if len(kept) < 2:
            continue
        labels = Counter(key for keys in kept.values() for key in keys)
        alone = {label: fsum(seconds.get(key, 0.0) for key in keys if labels[key] == 1) for label, keys in kept.items()}
        label = max(alone, key=alone.__getitem__)
        yield f"without {kind} {label}", alone[label]


def _fewer_examples(plan: Plan) -> Iterator[tuple[str, float]]:
    attacks = [stage for stage in plan.stages if stage.what == "attack" and stage.status != "done"]
    yield (
        "half as many examples, or half the steps of each attack",
        sum(plan.seconds(one) or 0.0 for one in attacks) / 2,
    )
