"""What a defense may ask of models besides `Generate` and `Classify`: likelihoods, activations, and gradients of both.

Every request goes to the model whose role it names; "" is the victim itself, undefended. The engine answers, and meters
the compute as the defense's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.attack import Classify, Generate
from harness.tokens.text import Floats, Tokens

Pool = Literal["last", "mean"]


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Ask how likely each token of a text is, given those before it. Answer: NLL in nats, shape [L - 1] for a text of L
    tokens (special ones included), from the second token on; empty for shorter texts.

    Attributes:
        text: a whole text; only as much of its end as the context holds is read.
        tokens: the row itself, special ids included; then ``text`` is not looked at.
        model: the role of a causal language model.
    """

    text: str = ""
    tokens: Tokens | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class LikelihoodGradient:
    """Ask for the gradient of ``sum(weights * NLL)`` of a row of tokens by the one-hot encoding of some of them, which
    are read and predicted. Answer: `Floats` [S, A].

    Attributes:
        before, tokens, after: the row in three parts, special ids included; differentiated by ``tokens`` [S].
        weights: one per NLL of the whole row, shape [P + S + T - 1].
        allowed: ids whose entries are wanted, sorted, [A].
        model: the role of a causal language model with the victim's tokens.
    """

    before: Tokens
    tokens: Tokens
    after: Tokens
    weights: Floats
    allowed: Tokens
    model: str = ""


@dataclass(frozen=True, slots=True)
class Activations:
    """Ask for what a layer says of a text. Answer: `Floats` [H].

    Attributes:
        text: a whole text; only as much of its end as the context holds is read.
        tokens: the row itself, special ids included; then ``text`` is not looked at.
        layer: 0 the input embeddings; l the output of decoder layer l, counted from 1; negative from the last.
        pool: the activations at the last token, or their mean over all.
        model: the role of a model that runs here.
    """

    text: str = ""
    layer: int = -1
    pool: Pool = "last"
    tokens: Tokens | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class ActivationGradient:
    """Ask for the gradient of ``direction · activations`` by the one-hot encoding of some tokens. Answer: `Floats`
    [S, A].

    Attributes:
        before, tokens, after, allowed: as in `LikelihoodGradient`.
        direction: shape [H].
        layer, pool: as in `Activations`.
    """

    before: Tokens
    tokens: Tokens
    after: Tokens
    direction: Floats
    allowed: Tokens
    layer: int = -1
    pool: Pool = "last"
    model: str = ""


DefenseRequest = Generate | Classify | Likelihood | LikelihoodGradient | Activations | ActivationGradient
