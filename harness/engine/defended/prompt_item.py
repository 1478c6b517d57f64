"""A prompt on its way through the defenses to the victim."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.api.model.mellowmax import Mellowmax
from harness.api.problem.latent import Latent
from harness.api.problem.problem import Problem
from harness.api.requests import Classify, Generate
from harness.tokens.message import PLAIN, Conversation, Message, Prompt, in_conversation
from harness.tokens.tokenizer import Target, Tokenizer

Names = tuple[str | int, ...]


@dataclass(frozen=True)
class PromptItem:
    """A prompt on its way.

    Attributes:
        text: what defenses look at and may rewrite: the prompt, or of a conversation the message that may change.
        conversation: the other messages.
        names: what the randomness of its treatment depends on.
        target: ids whose NLL is wanted as well, of an answer in text.
        over: how these NLLs become one loss, as in `harness.api.requests.Score`.
        ids: the text's tokens without special ones, where they are not simply the tokenizer's.
        max_tokens, temperature, seed, top_p: of an answer in text; ``max_tokens`` None is the victim's own, whose seed
            follows from ``names``.
        one_pass: for a loss: blocked prompts with a finite penalty go on, a vote draws one copy.
        penalty: what the guards that it has met raise its loss by, in nats.
        latent: what is added to the activations from position ``start`` on, special tokens counted; None: nothing.
        begun: the beginning of the answer, which no defense looks at.
        radius: a perturbation that is longer, in units of the activations' mean norm, gets no answer.
    """

    text: str
    names: Names = ()
    target: Target | None = None
    ids: tuple[int, ...] | None = None
    max_tokens: int | None = None
    temperature: float = 0.0
    seed: int = 0
    one_pass: bool = False
    penalty: float = 0.0
    latent: Latent | None = None
    start: int = 0
    radius: float = 0.0
    top_p: float = 1.0
    conversation: Conversation = PLAIN
    begun: str = ""
    over: Mellowmax | None = None

    @property
    def asked(self) -> Prompt:
        """The whole prompt: the text, or the messages of the conversation."""
        return self.whole.conversation.prompt(self.text)

    @property
    def apart(self) -> PromptItem:
        """The same as defenses look at it: of a conversation whose last message begins the answer, the one before."""
        if not self.conversation.begins_answer or not self.conversation.before:
            return self
        conversation, text = in_conversation(self.conversation.before)
        return replace(self, text=text, conversation=conversation, begun=self.text)

    @property
    def whole(self) -> PromptItem:
        """The same with the beginning of the answer in its conversation."""
        if not self.begun:
            return self
        after = (*self.conversation.after, Message("assistant", self.begun))
        return replace(self, conversation=replace(self.conversation, after=after), begun="")

    @property
    def in_text(self) -> bool:
        """Whether a text is asked for, whatever the victim answers with by itself."""
        return self.max_tokens is not None


def data_ids(tokenizer: Tokenizer, text: str, data: tuple[str, ...]) -> tuple[int, ...] | None:
    """Ids of a prompt in which some parts are data; None where they are simply the tokenizer's."""
    encode = getattr(tokenizer, "encode_with_data", None)
    found = encode(text, data) if data and encode is not None else None
    return None if found is None else tuple(found)


def prompt_items(
    problem: Problem, request: Generate | Classify, names: Names, tokenizer: Tokenizer | None = None
) -> list[PromptItem]:
    """What a request asks, on its way. To the victim, a text is what the message with the attack string says.

    Args:
        tokenizer: of the model that is asked, where it takes ids.
    """
    around = PLAIN if request.model else problem.conversation
    asked = [(around, prompt) if isinstance(prompt, str) else in_conversation(prompt) for prompt in request.prompts]
    return [
        PromptItem(
            text,
            (*names, at),
            ids=None if tokenizer is None else data_ids(tokenizer, text, request.data),
            conversation=conversation,
        )
        for at, (conversation, text) in enumerate(asked)
    ]
