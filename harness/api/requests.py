"""What attacks, judges and defenses ask of models, and what they get in answer.

Every request goes to the model whose role it names; "" is the victim itself. The engine answers it and meters what that
takes. A defense may ask `Generate`, `Classify` and the requests below `DefenseRequest`; it meets the undefended victim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from harness.api.model.mellowmax import Mellowmax
from harness.api.threat import Access
from harness.tokens.message import Prompt
from harness.tokens.tokenizer import Floats, Tokens


@dataclass(frozen=True, slots=True)
class Score:
    """Ask for the loss of each candidate. Answer: `Floats` of shape [K], in nats: cross-entropy to the proxy label, or
    mean NLL of the target text; ``inf`` where a guard blocks it. With ``best``, losses of others than the best may be
    lower bounds, and are never below the best ones.

    Of an example without a proxy label it is that of all wrong labels together.

    Attributes:
        candidates: attack strings, shape [K, S] with S the threat model's token budget; K may be 0.
        near: shape [S], the string from which each candidate differs in few positions, if there is one, or several such
            strings, [n, S] (lets the engine reuse computation).
        model: the role of an auxiliary model; "" is the victim.
        target: the loss of something else than what the example's attacker wants: of a label, by its index, or of a
            text where the model answers in text.
        over: how the NLLs of a target text's tokens become one loss; None: by their mean. Of a label it changes
            nothing.
        best: how many of the lowest losses are wanted (lets the engine leave out what cannot be among them); None: all.
    """

    candidates: Tokens
    near: Tokens | None = None
    model: str = ""
    target: int | str | None = None
    over: Mellowmax | None = None
    best: int | None = None
    access: ClassVar[Access] = "scores"


@dataclass(frozen=True, slots=True)
class Gradient:
    """Ask for the gradient of the loss with respect to the one-hot encoding of the attack string. Answer:
    `GradientAnswer`.

    Attributes:
        tokens: the attack string, shape [S].
        top: how many tokens to return per position, those whose substitution lowers the loss most to first order; only
            allowed tokens count.
        model: the role of an auxiliary model; "" is the victim.
        target, over: as in `Score`.
    """

    tokens: Tokens
    top: int
    model: str = ""
    target: int | str | None = None
    over: Mellowmax | None = None
    access: ClassVar[Access] = "gradient"


@dataclass(frozen=True, slots=True)
class GradientAnswer:
    """The most promising substitutions.

    Attributes:
        loss: loss of the string itself.
        tokens: shape [S, top], best first (most negative gradient; ties by token id). `top` is cut to the number of
            allowed tokens.
        values: shape [S, top], the gradient entries of those tokens.
    """

    loss: float
    tokens: Tokens
    values: Floats


@dataclass(frozen=True, slots=True)
class Sample:
    """Ask for next tokens of each string in its place, drawn without replacement from the victim's distribution (a
    language model's). Answer: `SampleAnswer`.

    Attributes:
        strings: attack strings so far, shape [n, m] with m below the threat model's token budget; n and m may be 0.
        k: how many tokens per string.
        seed: of the draw.
        top: draw among so many of the most likely tokens of those that are allowed; None: among all of these.
        model: the role of an auxiliary model; "" is the victim.
    """

    strings: Tokens
    k: int
    seed: int
    top: int | None = None
    model: str = ""
    access: ClassVar[Access] = "scores"


@dataclass(frozen=True, slots=True)
class SampleAnswer:
    """Next tokens. Only tokens that the threat model allows are drawn, none twice for one string.

    Attributes:
        tokens: shape [n, k], in the order in which they were drawn. `k` is cut to the number of tokens drawn among.
        log_probs: shape [n, k], in nats, under the victim's distribution over its whole vocabulary.
    """

    tokens: Tokens
    log_probs: Floats


@dataclass(frozen=True, slots=True)
class Generate:
    """Ask for answers in text, to texts or to conversations. Answer: list of texts, None where a guard or a server's
    filter refused, "" where there was no answer. A victim of a task with labels answers with the text of its label.

    Attributes:
        prompts: whole prompts. A text is one message of the user; to the victim, where the example is a conversation,
            the message that the attack string stands in. Messages are a whole conversation, which the answer can be
            added to and asked again: the attack then takes several turns, as many as the threat model allows.
        max_tokens: longest answer.
        temperature: 0 for the most likely token at each place.
        seed: of the draw at a temperature above 0.
        model: the role of an auxiliary model; "" is the victim.
        data: parts of the prompts that are nobody's instructions, such as an answer to be judged: special tokens in
            them are text, also where those of a hand-written prompt count.
    """

    prompts: tuple[Prompt, ...]
    max_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0
    model: str = ""
    data: tuple[str, ...] = ()
    access: ClassVar[Access] = "text"


@dataclass(frozen=True, slots=True)
class Classify:
    """Ask for the label logits of whole prompts. Answer: `Floats` of shape [prompts, labels], NaN where a guard refused
    or the prompt is longer than the context. Their softmax over the last axis is probabilities.

    Of a multi-label classifier, whose labels do not exclude each other, the shape is [prompts, labels, 2]: the logits
    of no and yes for each label.

    Attributes:
        prompts: whole prompts.
        model: the role of an auxiliary model; "" is the victim.
        data: as in `Generate`.
    """

    prompts: tuple[str, ...]
    model: str = ""
    data: tuple[str, ...] = ()
    access: ClassVar[Access] = "scores"


@dataclass(frozen=True, slots=True)
class Perturb:
    """Ask for the loss when something is added to the activations at the attack string, and for its gradient by that.
    Answer: `PerturbAnswer`.

    Attributes:
        tokens: the attack string, shape [S], at least one token.
        delta: what is added, shape [S, H] with H the width of the activations; None: zeros.
        layer: where: 0 the input embeddings; l the output of decoder layer l, counted from 1.
        model: the role of an auxiliary model; "" is the victim.
        target: as in `Score`.
    """

    tokens: Tokens
    delta: Floats | None = None
    layer: int = 0
    model: str = ""
    target: int | str | None = None
    access: ClassVar[Access] = "latent"


@dataclass(frozen=True, slots=True)
class PerturbAnswer:
    """Where a perturbation stands.

    Attributes:
        loss: in nats, with the perturbation.
        gradient: of the loss by the perturbation, shape [S, H].
        scale: mean L2 norm of the unperturbed activations at the string: the unit of the threat model's radius. Of a
            string that several examples share, the smallest of theirs.
    """

    loss: float
    gradient: Floats
    scale: float


@dataclass(frozen=True, slots=True)
class RelaxedGradient:
    """Ask for the loss of a relaxed attack string, whose positions hold mixtures of tokens, and for its gradient by
    the mixtures' weights. Answer: `RelaxedAnswer`.

    At each position the model reads the mean of the token embeddings under the weights. With weights of 0 and 1 that is
    a string of tokens, and the gradient is that of `Gradient`. A relaxed string is no text: it shows where to look, and
    what is judged is always a string of tokens. It is refused behind transforms and votes, and behind guards that offer
    the gradient of a penalty, since these need a text. It counts as `Gradient` does: a query, a forward and a backward.

    Attributes:
        weights: shape [S, A], of the threat model's A allowed tokens in their order (`Problem.allowed`), at each of at
            most as many positions as it has tokens; none negative, each row with the sum 1.
        model: the role of an auxiliary model; "" is the victim.
        target: as in `Score`.
    """

    weights: Floats
    model: str = ""
    target: int | str | None = None
    access: ClassVar[Access] = "gradient"


@dataclass(frozen=True, slots=True)
class RelaxedAnswer:
    """Where a relaxed string stands.

    Attributes:
        loss: in nats, of the relaxed string.
        gradient: of the loss by the weights, shape [S, A], as if each were free.
        wrong: how many tokens of the target are not the likeliest, the target's tokens before them being given; of a
            label 1 or 0; of several labels 0 where one of them is the likeliest. The mean where examples share a
            string; None where the model does not tell.
    """

    loss: float
    gradient: Floats
    wrong: float | None = None


Request = Score | Gradient | Sample | Generate | Classify | Perturb | RelaxedGradient


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


@dataclass(frozen=True, slots=True)
class LossGradient:
    """Ask for the loss of an answer to a prompt, and for its gradient by a bias of a layer: by a vector that would be
    added to the layer's activations at each token of the prompt. Answer: `LossGradientAnswer`; None where the prompt,
    or the answer after it, is longer than the context.

    Attributes:
        prompt: a whole prompt, put to a chat model through its template; a text or messages.
        target: the answer: a label's index, or a text of a model that answers in text.
        layer: 0 the input embeddings; l the output of decoder layer l, counted from 1.
        model: the role of a model that runs here; "" is the victim.
    """

    prompt: Prompt
    target: int | str
    layer: int = 0
    model: str = ""


@dataclass(frozen=True, slots=True)
class LossGradientAnswer:
    """A loss and its gradient.

    Attributes:
        loss: in nats: cross-entropy to the label, or mean NLL of the text.
        gradient: by the layer's bias, shape [H].
    """

    loss: float
    gradient: Floats


DefenseRequest = Generate | Classify | Likelihood | LikelihoodGradient | Activations | ActivationGradient | LossGradient
