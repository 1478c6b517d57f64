"""Conversations as a model reads them: ids of a rendered chat, and the place of an attack string in it.

The text that is tokenised is the whole that the template makes. Special tokens in it are those that the template, the
system prompt and the prefill write; where the messages spell one, it is text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import numpy as np
import tokenizers
from numpy.typing import NDArray

from harness.errors import VictimError
from harness.tokens.chat_format import ChatFormat
from harness.tokens.continuation import continuation_ids
from harness.tokens.message import PLAIN, Conversation, Prompt
from harness.tokens.special_tokens import SpecialTokenSpelling
from harness.tokens.survival import StringInPrompt
from harness.tokens.tokenizer import RoundTrip, Tokenizer, Tokens

_GAP = "\ue0a5\ue0a9"  # private characters: stand for what the message says between two texts


class SpelledTokenizer(Tokenizer, Protocol):
    """A tokenizer whose special tokens can be spelled otherwise (`harness.tokens.hf_tokenizer.HFTokenizer`).

    Attributes:
        reader: reads that spelling.
    """

    spelling: SpecialTokenSpelling
    reader: tokenizers.Tokenizer
    left_text: str

    def parsed(self, texts: Sequence[str]) -> list[list[int]]: ...

    @property
    def segments(self) -> RoundTrip | None: ...


class RenderedTokenizer:
    """Reads and writes texts in which special tokens have the spelling that no data has."""

    left: tuple[int, ...] = ()
    right: tuple[int, ...] = ()

    def __init__(self, plain: SpelledTokenizer) -> None:
        self._plain = plain
        self.vocabulary, self.special = plain.vocabulary, plain.special

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [
            encoding.ids for encoding in self._plain.reader.encode_batch_fast(list(texts), add_special_tokens=False)
        ]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        rows = [row.tolist() if hasattr(row, "tolist") else list(row) for row in ids]
        return self._plain.reader.decode_batch(rows, skip_special_tokens=False)

    def spans(self, text: str) -> list[tuple[int, int]]:
        return list(self._plain.reader.encode(text, add_special_tokens=False).offsets)

    @property
    def segments(self) -> RoundTrip | None:
        return self._plain.segments


class ChatPrompts:
    """Prompts of a chat model.

    Attributes:
        plain: the tokenizer for texts that are no prompts.
        format: how the model is talked to.
    """

    def __init__(self, plain: SpelledTokenizer, chat: ChatFormat) -> None:
        self.plain, self.format = plain, chat
        self.tokenizer = RenderedTokenizer(plain)

    def rendered(self, prompt: Prompt) -> str:
        """The text that the model reads, special tokens spelled as `tokenizer` reads them.

        Raises:
            VictimError: the template does not take these messages.
        """
        return self.plain.spelling.rendered(partial(self.format.render, prompt))

    def as_text(self, prompt: Prompt) -> str | None:
        """A prompt for a reader that puts the special tokens of its left before it, and takes special tokens for such
        wherever they are spelled; None where it would read another prompt. Raises as `rendered`.
        """
        whole = self.format.render(prompt)
        text = whole.removeprefix(self.plain.left_text)
        read = self.plain.parsed([text])[0]
        return text if self.encode([prompt])[0] in (read, [*self.plain.left, *read]) else None

    def encode(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Ids of whole prompts, special ones included. Raises as `rendered`."""
        return self.tokenizer.encode([self.rendered(prompt) for prompt in prompts])

    def frame(self, before: str = "", after: str = "", conversation: Conversation = PLAIN) -> ChatFrame:
        """The place of a string between two texts of a message. Raises as `rendered`, and VictimError where the
        template does not show that message, or shows it twice.
        """
        head, *tails = self.rendered(conversation.prompt(before + _GAP + after)).split(_GAP)
        if len(tails) != 1:
            shown = "twice or more" if tails else "nowhere"
            raise VictimError(
                f"{self.format.template.where}: the chat template writes the message in which the attack string goes "
                f"{shown}; put it into another message, or write chat: PATH"
            )
        # A space that the template writes before an answer is part of the answer's first token.
        lead = head[len(head.rstrip(" ")) :] if conversation.begins_answer and not before else ""
        return ChatFrame(self, conversation, before, after, head.removesuffix(lead), tails[0], lead)

    def answer_ids(self, answer: str) -> tuple[int, ...]:
        """Ids of an answer's beginning, a target or a label, where the model begins to answer."""
        return continuation_ids(self.plain, self.format.spaced(answer))

    @cached_property
    def turn_end(self) -> int | None:
        """The special token that the template ends an answer with; None where it is none."""
        ids = self.tokenizer.encode([self.plain.spelling.rendered(lambda _: self.format.turn_end)])[0]
        return ids[0] if ids and ids[0] in self.plain.special else None


@dataclass(frozen=True)
class ChatFrame:
    """The place of a string in a conversation.

    Attributes:
        conversation: the other messages.
        before_text, after_text: of the message that the string stands in.
        head, tail: all that the model reads before and after the string, as `RenderedTokenizer` spells it.
        lead: the space that the template writes before the string, with which the string then begins.
    """

    chat: ChatPrompts
    conversation: Conversation
    before_text: str
    after_text: str
    head: str
    tail: str
    lead: str = ""

    @cached_property
    def before(self) -> Tokens:
        """Ids before the string, shape [P]."""
        return np.asarray(self.chat.tokenizer.encode([self.head])[0], dtype=np.int64)

    @cached_property
    def after(self) -> Tokens:
        """Ids after the string, shape [T]."""
        return np.asarray(continuation_ids(self.chat.tokenizer, self.tail), dtype=np.int64)

    def prompt(self, text: str) -> str:
        """The message with this text in the string's place."""
        return self.before_text + text.removeprefix(self.lead) + self.after_text

    def ids(self, text: str) -> list[int]:
        """Ids of the whole conversation with this text in the string's place, rendered and tokenised again."""
        return self.chat.encode([self.conversation.prompt(self.prompt(text))])[0]

    def survives_rendering(self, text: str) -> bool:
        """Whether the template writes this text in its place, and all the rest as it is."""
        if not text.startswith(self.lead):
            return False
        # Of a string that spells a special token with what is around it this may say no; no such string is of use.
        return self.chat.rendered(self.conversation.prompt(self.prompt(text))) == self.head + text + self.tail

    def survives(self, candidates: Tokens) -> NDArray[np.bool_]:
        """Whether the whole conversation with each string as text tokenises to before + string + after; shape [K]."""
        return np.asarray([text is not None for text in self.texts(candidates)], dtype=bool)

    def texts(self, candidates: Tokens) -> list[str | None]:
        """The text of each string in its place, or None where it does not survive; length K."""
        rows = np.asarray(candidates)
        if rows.ndim == 2 and rows.shape[1] == 0:
            return [""] * len(rows)
        return [
            text if text is not None and self.survives_rendering(text) else None for text in self._string.texts(rows)
        ]

    def prompts(self, candidates: Tokens) -> list[str]:
        """The messages with each string in its place, surviving or not; length K."""
        rows = np.asarray(candidates)
        alone = self.chat.tokenizer.decode(rows.tolist())
        return [
            self.prompt(own if text is None else text)
            for text, own in zip(self._string.strings(rows), alone, strict=True)
        ]

    @cached_property
    def _string(self) -> StringInPrompt:
        return StringInPrompt(self.head, self.tail, self.before, self.after, self.chat.tokenizer)
