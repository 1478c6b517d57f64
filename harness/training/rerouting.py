"""Rows whose hidden states are led away from those of the model as it was, and rows whose states are kept. Imports no
torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat

from harness.api.params import Params
from harness.api.training import TrainRow
from harness.errors import VictimError


class ReroutingLoss(Params):
    """The loss of representation rerouting (Zou et al. 2024, arXiv 2406.04313, algorithm 1).

    At update t of T it is c_rr · mean ReLU(cos(h, h')) over the tokens and layers of the rerouted rows and
    c_retain · mean ‖h − h'‖₂ over tokens and layers of the retained ones, h' being the states of the model as it was;
    c_rr = alpha · (1 − t/2T) and c_retain = alpha · t/2T.
    """

    alpha: PositiveFloat = Field(10.0, description="both terms are scaled by it")
    layers: tuple[NonNegativeInt, ...] = Field(
        (),
        description="layers whose states are rerouted, 0 being the embeddings; by default the paper's, "
        "the 10th and the 20th of 32, in proportion. States are retained in all layers",
    )
    tokens: Literal["all", "answer"] = Field(
        "all", description="where a harmful row is rerouted: prompt and answer, or only the answer"
    )

    def coefficients(self, step: int, total: int) -> tuple[float, float]:
        """c_rr and c_retain at update ``step``, from 0, of ``total``."""
        progress = step / (2 * total)
        return self.alpha * (1 - progress), self.alpha * progress

    def layers_of(self, depth: int) -> tuple[int, ...]:
        """The layers that are rerouted in a model of so many.

        Raises:
            VictimError: one of them is beyond the last.
        """
        beyond = [layer for layer in self.layers if layer > depth]
        if beyond:
            raise VictimError(f"layers: {beyond} of a model that has layers 1 to {depth}, and 0 is its embeddings")
        return self.layers or tuple(sorted({max(1, round(depth * layer / 32)) for layer in (10, 20)}))


@dataclass(frozen=True)
class Rerouting:
    """Pairs of rows, in the order in which they are learnt: nothing is shuffled, and each pair is seen once.

    Attributes:
        groups: in each the row whose states are led away, and one whose states are kept.
        loss: what that means.
    """

    groups: Sequence[tuple[TrainRow, TrainRow]]
    loss: ReroutingLoss

    @property
    def rows(self) -> list[TrainRow]:
        """All rows in the order in which they are learnt, pair by pair."""
        return list(chain.from_iterable(self.groups))
