"""Examples that are learnt in several views at once. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from pydantic import Field, NonNegativeFloat, PositiveFloat

from harness.api.params import Params
from harness.api.training import TrainRow
from harness.errors import VictimError


class ViewLoss(Params):
    """What is added to the mean loss of all views, in nats."""

    consistency: NonNegativeFloat = Field(
        1.0,
        description="weight of the Jensen-Shannon divergence between the answers to the views of an example "
        "(Hendrycks et al. 2020, AugMix, arXiv 1912.02781)",
    )
    contrastive: NonNegativeFloat = Field(
        0.0,
        description="weight of a contrastive term on the last hidden state where the answer begins: views of an "
        "example are drawn together, examples with other answers pushed apart (Khosla et al. 2020, arXiv 2004.11362)",
    )
    temperature: PositiveFloat = Field(0.1, description="of the contrastive term's cosine similarities")


@dataclass(frozen=True)
class Views:
    """Rows in groups, in the order in which they are learnt: nothing is shuffled, and each group is seen once.

    Attributes:
        groups: the views of one example each, all of the same number and with the same answer.
        loss: what brings them together.
    """

    groups: Sequence[tuple[TrainRow, ...]]
    loss: ViewLoss

    @property
    def rows(self) -> list[TrainRow]:
        """All rows in the order in which they are learnt, group by group."""
        return list(chain.from_iterable(self.groups))

    @property
    def each(self) -> int:
        """How many views a group has."""
        return len(self.groups[0]) if self.groups else 0

    def check(self) -> None:
        """Raise VictimError where the views of an example differ in number or in their answer."""
        if any(len(group) != self.each or len({row_answer(row) for row in group}) > 1 for group in self.groups):
            raise VictimError("the views of an example must all have its answer, and examples equally many views")


def row_answer(row: TrainRow) -> tuple[object, ...]:
    """The answer that a row teaches: its label, and the tokens that are to be generated."""
    return row.label, None if row.start is None else row.ids[row.start :]
