"""What the engine asks of a model. The torch implementation is `harness.TorchBackend`; nothing here imports torch.

A backend works on token ids and knows nothing of attacks, threat models or defenses. It reports the compute it really
ran; the nominal convention is applied by the meter. Rows are never padded, so a result does not depend on which rows
share a call (beyond the rounding of differently shaped matrix products).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from harness.api.model.mellowmax import Mellowmax
from harness.api.problem.latent import Latent
from harness.api.requests import GradientAnswer, PerturbAnswer, RelaxedAnswer, SampleAnswer
from harness.errors import AccessError
from harness.records.answer_state import AnswerState
from harness.tokens.message import PLAIN, Conversation, Prompt
from harness.tokens.prompts import encode_prompts, whole_ids
from harness.tokens.tokenizer import Floats, Target as Target, Tokenizer, Tokens

Ability = Literal[
    "score",
    "gradient",
    "mellowmax",
    "sample",
    "generate",
    "classify",
    "perturb",
    "relaxed",
    "likelihood",
    "activations",
]
"""What a backend can do: the requests that it answers, and ``mellowmax`` where it looks at ``over`` in `ScoreItem` and
`GradientItem`.
"""


@dataclass(frozen=True, slots=True)
class ScoreItem:
    """Candidates of one example: each row is ``before + candidate + after``.

    Attributes:
        before, after: ids around the attack string, shapes [P] and [T].
        candidates: shape [K, S]; K may be 0.
        target: the proxy label, or the ids that the attacker wants to be generated.
        near: shape [S], the string the candidates derive from, or several, [n, S], or None.
        over: as in `harness.api.requests.Score`; of a backend with labels not looked at.
        best: how many of the lowest losses are wanted at least; None: all. A backend may leave it out of account.
    """

    before: Tokens
    candidates: Tokens
    after: Tokens
    target: Target
    near: Tokens | None = None
    over: Mellowmax | None = None
    best: int | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """Answer to a `ScoreItem`: label logits [K, labels] ([K, 0] of a backend that answers in text), losses [K] in nats,
    and the executed FLOPs of the item.

    ``exact`` tells which candidates' answers are exact, [K]; None: all. Of the others the losses are lower bounds, not
    below the exact ones that are wanted, and the logits are near.
    """

    logits: Floats
    losses: Floats
    executed: float
    exact: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class GradientItem:
    """One attack string whose one-hot gradient is wanted.

    Attributes:
        tokens: shape [S].
        allowed: ids that may be returned, sorted, shape [A].
        top: how many per position (at most A).
        over: as in `ScoreItem`.
    """

    before: Tokens
    tokens: Tokens
    after: Tokens
    target: Target
    allowed: Tokens
    top: int
    over: Mellowmax | None = None


@dataclass(frozen=True, slots=True)
class Differentiated:
    """Answer to a `GradientItem`: the substitutions, and the executed FLOPs."""

    answer: GradientAnswer
    executed: float


@dataclass(frozen=True, slots=True)
class SampleItem:
    """Strings of one example whose next tokens are wanted: each row is ``before + string``.

    Attributes:
        before: shape [P].
        strings: shape [n, m]; n and m may be 0.
        allowed: ids that may be drawn, sorted, shape [A].
        k, seed, top: as in `harness.api.requests.Sample`.
    """

    before: Tokens
    strings: Tokens
    allowed: Tokens
    k: int
    seed: int
    top: int | None = None


@dataclass(frozen=True, slots=True)
class Sampled:
    """Answer to a `SampleItem`: the tokens drawn, and the executed FLOPs."""

    answer: SampleAnswer
    executed: float


@dataclass(frozen=True, slots=True)
class GenerateItem:
    """A prompt to be answered in text; fields as in `harness.api.requests.Generate`.

    Attributes:
        prompt: a text; of a conversation, of the message that ``conversation`` is around.
        ids: the text's tokens without special ones, where they are not simply the tokenizer's.
        top_p: drawn among the likeliest tokens that have this probability together, at that temperature.
    """

    prompt: str
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    ids: tuple[int, ...] | None = None
    top_p: float = 1.0
    conversation: Conversation = PLAIN

    @property
    def asked(self) -> Prompt:
        """The whole prompt: the text, or the messages of the conversation."""
        return self.conversation.prompt(self.prompt)


def prompt_ids(items: Sequence[GenerateItem], tokenizer: Tokenizer) -> list[list[int]]:
    """Tokens of each prompt without special ids around it: those that it brings, or the tokenizer's.

    Raises:
        VictimError: a conversation that the model's chat template does not take, or it has none.
    """
    encoded = iter(encode_prompts(tokenizer, [item.asked for item in items if item.ids is None]))
    return [next(encoded) if item.ids is None else whole_ids(tokenizer, item.ids, item.conversation) for item in items]


@dataclass(frozen=True, slots=True)
class Generated:
    """Answer to a `GenerateItem`.

    Attributes:
        text: without the token that ended it; with the model's reasoning, which the engine takes out.
        finished: whether the model ended it, rather than ``max_tokens`` or the context.
        prompt_tokens, new_tokens: how many went in and came out (the ending one counts).
        executed: FLOPs.
        state: what the server says of it; the engine itself sees that a text is empty, or reasoning alone.
    """

    text: str
    finished: bool
    prompt_tokens: int
    new_tokens: int
    executed: float
    state: AnswerState = "answered"


@dataclass(frozen=True, slots=True)
class PerturbItem:
    """One attack string with a perturbation, whose loss and gradient are wanted.

    Attributes:
        tokens: shape [S], at least one.
        layer, delta: as in `harness.api.requests.Perturb`.
    """

    before: Tokens
    tokens: Tokens
    after: Tokens
    target: Target
    layer: int = 0
    delta: Floats | None = None


@dataclass(frozen=True, slots=True)
class Perturbed:
    """Answer to a `PerturbItem`: loss and gradient, the executed FLOPs, and ``wrong`` as in
    `harness.api.requests.RelaxedAnswer`.
    """

    answer: PerturbAnswer
    executed: float
    wrong: int | None = None


@dataclass(frozen=True, slots=True)
class RelaxedItem:
    """One relaxed attack string, whose loss and gradient are wanted.

    Attributes:
        weights: as in `harness.api.requests.RelaxedGradient`, [S, A], S at least 1.
        allowed: the ids that they are of, sorted, [A].
    """

    before: Tokens
    weights: Floats
    after: Tokens
    target: Target
    allowed: Tokens


@dataclass(frozen=True, slots=True)
class Relaxed:
    """Answer to a `RelaxedItem`: loss and gradient, and the executed FLOPs."""

    answer: RelaxedAnswer
    executed: float


@dataclass(frozen=True, slots=True)
class LatentItem:
    """A whole prompt to be answered with a perturbation.

    Attributes:
        start: its first position in the row of ids, special ones included.
        target: of an answer in text, the ids whose loss is wanted; else not looked at.
        max_tokens: longest answer in text.
        radius: a perturbation that is longer, in units of the activations' mean norm, is measured and not answered.
    """

    prompt: str
    start: int
    latent: Latent
    target: Target = 0
    max_tokens: int = 0
    radius: float = math.inf
    conversation: Conversation = PLAIN

    @property
    def asked(self) -> Prompt:
        """The whole prompt: the text, or the messages of the conversation."""
        return self.conversation.prompt(self.prompt)


@dataclass(frozen=True, slots=True)
class LatentAnswer:
    """Answer to a `LatentItem`.

    Attributes:
        logits: of the labels, shape [labels]; empty for an answer in text, and where there is none.
        scale: mean L2 norm of the unperturbed activations that the perturbation was added to.
        loss: of the target of an answer in text, in nats; else NaN.
        said: the answer in text, its own FLOPs included; else None.
        executed: FLOPs of everything.
        beyond: whether the perturbation is longer than the radius, and there is no answer.
    """

    logits: Floats
    scale: float
    executed: float
    loss: float = math.nan
    said: Generated | None = None
    beyond: bool = False


@dataclass(frozen=True, slots=True)
class LikelihoodItem:
    """A row of ids whose tokens' NLL is wanted, or the gradient of a weighted sum of it.

    Attributes:
        row: shape [L], special ids included.
        weights: one per NLL, shape [L - 1]; None: no gradient is wanted.
        span: first position differentiated by, and the one after the last.
        allowed: ids whose entries of the gradient are wanted, sorted, [A].
    """

    row: Tokens
    weights: Floats | None = None
    span: tuple[int, int] = (0, 0)
    allowed: Tokens | None = None


@dataclass(frozen=True, slots=True)
class LikelihoodAnswer:
    """Answer to a `LikelihoodItem`: NLL in nats [L - 1] of each token but the first, and the gradient [S, A]."""

    nll: Floats
    executed: float
    gradient: Floats | None = None


@dataclass(frozen=True, slots=True)
class ActivationItem:
    """A row of ids whose activations in a layer are wanted, or the gradient of their product with a direction.

    Attributes:
        row: shape [L], special ids included.
        layer: 0 the input embeddings, l the output of layer l; negative from the last; None: all of them, in one
            forward.
        pool: at the last token, or their mean.
        direction: shape [H]; None: no gradient is wanted. Of one layer only.
        span, allowed: as in `LikelihoodItem`.
    """

    row: Tokens
    layer: int | None = -1
    pool: Literal["last", "mean"] = "last"
    direction: Floats | None = None
    span: tuple[int, int] = (0, 0)
    allowed: Tokens | None = None


@dataclass(frozen=True, slots=True)
class ActivationAnswer:
    """Answer to an `ActivationItem`: activations [H] (where all layers were asked for, of the last), the gradient
    [S, A], and the activations of all layers [H] each, the embeddings first; none where one layer was asked for.
    """

    values: Floats
    executed: float
    gradient: Floats | None = None
    by_layer: tuple[Floats, ...] = ()


@runtime_checkable
class LikelihoodBackend(Protocol):
    """A causal language model that tells how likely a text is; it has the ability ``likelihood``."""

    def likelihood(self, items: Sequence[LikelihoodItem]) -> list[LikelihoodAnswer]:
        """NLL of many rows, and gradients where wanted, answered together."""


@runtime_checkable
class ActivationBackend(Protocol):
    """A backend whose activations can be read; it has the ability ``activations``."""

    def activations(self, items: Sequence[ActivationItem]) -> list[ActivationAnswer]:
        """Activations of many rows, and gradients where wanted, answered together.

        Raises:
            VictimError: the model has no such layer.
        """


@runtime_checkable
class Perturbable(Protocol):
    """A backend whose activations can be perturbed; it has the ability ``perturb``."""

    def perturb(self, items: Sequence[PerturbItem]) -> list[Perturbed]:
        """Losses and gradients of many examples' perturbations, answered together.

        Raises:
            VictimError: the model has no such layer, or activations of another width.
        """

    def answer_perturbed(self, items: Sequence[LatentItem]) -> list[LatentAnswer]:
        """What the model says to whole prompts with perturbations. Raises as `perturb`."""


@runtime_checkable
class RelaxedBackend(Protocol):
    """A backend that reads relaxed strings; it has the ability ``relaxed``."""

    def relaxed(self, items: Sequence[RelaxedItem]) -> list[Relaxed]:
        """Losses and gradients of many examples' relaxed strings, answered together.

        Raises:
            VictimError: the model's embeddings cannot be replaced.
        """


@runtime_checkable
class CachingBackend(Protocol):
    """A backend that keeps keys and values, or the like, from one request for the next."""

    def begin(self, befores: Sequence[Tokens]) -> None:
        """A search begins, or goes on with examples of these beginnings: forget everything else.

        What is remembered saves compute, so without this the executed FLOPs of a search would depend on what the
        process had done before it, and on where it was stopped. Computing the beginnings again is not metered.
        """

    def begin_step(self) -> None:
        """A step begins, which is where a search may be stopped: forget all but what `begin` is told of."""


@runtime_checkable
class ReasoningBackend(Protocol):
    """A backend whose model may write reasoning before its answer, which is no part of it.

    Attributes:
        reasoning: the markers before and after it, such as ``<think>`` and ``</think>``; None: it writes none.
    """

    reasoning: tuple[str, str] | None


class WithoutText:
    """Base for backends that are no language model: they score and give gradients, and refuse the other requests."""

    abilities: frozenset[Ability] = frozenset({"score", "gradient"})

    def sample(self, items: Sequence[SampleItem]) -> list[Sampled]:
        """Raise AccessError: the model gives no next tokens."""
        raise unsupported_request("sample", self.abilities)

    def generate(self, items: Sequence[GenerateItem]) -> list[Generated]:
        """Raise AccessError: the model gives no text."""
        raise unsupported_request("generate", self.abilities)


def class_logits(backend: Backend, logits: Floats) -> Floats:
    """The answer to `harness.api.requests.Classify` from a model's label logits [prompts, labels].

    Returns:
        the same; of a backend with ``independent_labels``, each label's own logits of no and yes [prompts, labels, 2].
    """
    if not getattr(backend, "independent_labels", False):
        return logits
    return np.stack([logits * 0.0, logits], -1)  # NaN stays NaN


def unsupported_request(ability: Ability, abilities: frozenset[Ability]) -> AccessError:
    """The error for a request that a backend does not answer; it says which victim would."""
    mend = {
        "score": "a victim that gives scores",
        "gradient": "a victim with open weights",
        "mellowmax": "a victim that has it",
        "sample": "a language model with open weights or log-probabilities",
        "generate": "a language model",
        "classify": "a classifier",
        "perturb": "a victim whose weights are here",
        "relaxed": "a victim whose weights are here",
        "likelihood": "a causal language model whose weights are here",
        "activations": "a model whose weights are here",
    }[ability]
    return AccessError(
        f"this victim does not answer {ability} requests (it answers {', '.join(sorted(abilities))}); use {mend} as "
        "victim, or another attack"
    )


class Backend(Protocol):
    """A loaded model. One that writes reasoning before its answers has its markers as an attribute ``reasoning``.

    Attributes:
        tokenizer: of the model.
        n_params: all parameters as used (N of the nominal convention); None where nobody knows.
        n_params_non_embedding: without input and position embeddings and without an untied output embedding.
        n_labels: width of the answers; 0 for a backend that answers in text.
        context: longest row in tokens.
        abilities: the requests that it answers; the others raise AccessError.

    A classifier whose labels do not exclude each other has an attribute ``independent_labels`` that is true: the
    probability of each label is the sigmoid of its logit. See `class_logits`.
    """

    tokenizer: Tokenizer
    n_params: int | None
    n_params_non_embedding: int | None
    n_labels: int
    context: int
    abilities: frozenset[Ability]

    def classify(self, rows: Sequence[NDArray[np.int64]]) -> tuple[Floats, list[float]]:
        """Label logits [rows, labels] of whole rows of ids, and the executed FLOPs of each row. A row of NaN: whoever
        serves the model refused it, as a guard would; of ``-inf``: there was no answer.
        """

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        """Losses of many examples' candidates, answered together."""

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        """One-hot gradients of many examples, answered together.

        Raises:
            AccessError: the model gives no gradients.
        """

    def sample(self, items: Sequence[SampleItem]) -> list[Sampled]:
        """Next tokens of many examples' strings, answered together.

        Raises:
            AccessError: the model is no language model, or does not tell probabilities.
        """

    def generate(self, items: Sequence[GenerateItem]) -> list[Generated]:
        """Answers in text.

        Raises:
            AccessError: the model is no language model.
        """

    def describe(self) -> dict[str, object]:
        """Facts for the manifest: dtype, device, head, agreement with an eager forward; ``first_refusal``, what a
        server said of the first prompt that it declined.
        """
