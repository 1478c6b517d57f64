"""Text that is learnt before any task, each in one or several views. Imports no torch."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from pydantic import Field, NonNegativeFloat, PositiveFloat

from harness.api.params import Params
from harness.api.training import TrainRow
from harness.errors import VictimError


class TextLoss(Params):
    """What is added to the language-model loss of all views, in nats. All weights are 0 by default."""

    consistency: NonNegativeFloat = Field(
        0.0,
        description="weight of the Jensen-Shannon divergence between what the views of a text predict for the same "
        "tokens (Hendrycks et al. 2020, AugMix, arXiv 1912.02781)",
    )
    contrastive: NonNegativeFloat = Field(
        0.0,
        description="weight of a contrastive term on the last hidden state of the last token (of an encoder: of the "
        "first): views of a text are drawn together, other texts of the batch pushed apart (Gao et al. 2021, SimCSE, "
        "arXiv 2104.08821)",
    )
    temperature: PositiveFloat = Field(0.1, description="of the contrastive term's cosine similarities")
    mixup: NonNegativeFloat = Field(
        0.0,
        description="weight of the loss on mixed embeddings of two texts (Zhang et al. 2018, arXiv 1710.09412); one "
        "more pass",
    )
    mixup_alpha: PositiveFloat = Field(0.2, description="the share of either text is drawn from Beta(alpha, alpha)")
    adversarial: NonNegativeFloat = Field(
        0.0,
        description="weight of the loss on embeddings that were moved to where it grows fastest (Miyato et al. 2017, "
        "arXiv 1605.07725); two more passes",
    )
    radius: PositiveFloat = Field(
        0.1, description="how far each token's embedding is moved, as a multiple of the mean norm of the row's"
    )

    @property
    def further_passes(self) -> float:
        """Compute of the passes beyond the first, as a multiple of a training pass, nominal: 1 for mixup; 5/3 for the
        adversarial term, whose first pass computes no gradients of weights.
        """
        return (1.0 if self.mixup else 0.0) + (5 / 3 if self.adversarial else 0.0)


@dataclass(frozen=True, slots=True)
class TextView:
    """A text as the model reads it, and which of its tokens are predicted.

    Attributes:
        row: what is read; of masked language models with masked tokens.
        places: of the tokens that are predicted, in order.
        tokens: the right ones there.
        common: which of ``places`` all views of the text have, as indices into them, in the order of the text.
    """

    row: TrainRow
    places: tuple[int, ...]
    tokens: tuple[int, ...]
    common: tuple[int, ...]

    @property
    def common_tokens(self) -> tuple[int, ...]:
        """The right tokens at the common places."""
        return tuple(self.tokens[at] for at in self.common)


@dataclass(frozen=True)
class TextViews:
    """Texts in the order in which they are learnt: nothing is shuffled, and each group is seen once.

    Attributes:
        groups: the views of one text each, all of the same number.
        loss: what is added to the language-model loss.
        causal: whether a token is predicted from those before it; else from all others, at its own place.
    """

    groups: Sequence[tuple[TextView, ...]]
    loss: TextLoss
    causal: bool

    @property
    def views(self) -> list[TextView]:
        """All views in the order in which they are learnt."""
        return list(chain.from_iterable(self.groups))

    @property
    def rows(self) -> list[TrainRow]:
        """All rows in that order."""
        return [view.row for view in self.views]

    @property
    def each(self) -> int:
        """How many views a text has."""
        return len(self.groups[0]) if self.groups else 0

    @property
    def hash(self) -> str:
        """sha256 of rows, places and tokens in their order, hexadecimal."""
        digest = hashlib.sha256(b"causal" if self.causal else b"masked")
        for view in self.views:
            for part in (view.row.ids, view.places, view.tokens, view.common):
                digest.update(array("q", (len(part), *part)).tobytes())
        return digest.hexdigest()

    def check(self) -> None:
        """Raise VictimError where there is nothing to learn, or views do not go together."""
        if not self.groups or any(not view.places for view in self.views):
            raise VictimError("pretraining needs at least one text, and at least one token to predict in each view")
        first = 1 if self.causal else 0
        for view in self.views:
            if len(view.places) != len(view.tokens) or not all(first <= at < len(view.row.ids) for at in view.places):
                raise VictimError("a view names places that cannot be predicted, or not a token for each")
        for group in self.groups:
            if len(group) != self.each or len({view.common_tokens for view in group}) > 1:
                raise VictimError("texts must have equally many views, and the views of a text the same common tokens")
