"""Prompts in a model's tokens: as they are, or through its chat template where its tokenizer has one set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.errors import VictimError
from harness.tokens.chat_prompts import ChatFrame, ChatPrompts
from harness.tokens.continuation import continuation_ids
from harness.tokens.message import PLAIN, Conversation, Messages, Prompt
from harness.tokens.survival import StringInPrompt
from harness.tokens.tokenizer import Tokenizer

Place = StringInPrompt | ChatFrame
"""Where a string stands in a prompt."""


def chat_of(tokenizer: Tokenizer) -> ChatPrompts | None:
    """How prompts are written for a chat model; None: as they are."""
    found: ChatPrompts | None = getattr(tokenizer, "chat", None)
    return found


def plain_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer for texts that are no prompts, with the special ids that the model expects around them."""
    chat = chat_of(tokenizer)
    return tokenizer if chat is None else chat.plain


def encode_prompts(tokenizer: Tokenizer, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Ids of each prompt, without the tokenizer's special ones around it.

    Raises:
        VictimError: a conversation, and there is no chat template, or one that does not take its messages.
    """
    chat = chat_of(tokenizer)
    if chat is not None:
        return chat.encode(prompts)
    texts = [prompt if isinstance(prompt, str) else _one_text(tokenizer, prompt) for prompt in prompts]
    return tokenizer.encode(texts)


def whole_ids(tokenizer: Tokenizer, ids: Sequence[int], conversation: Conversation = PLAIN) -> list[int]:
    """Ids of a prompt from those that were chosen for the text of its message. Raises as `encode_prompts`."""
    chat = chat_of(tokenizer)
    if chat is None:
        _check_plain(tokenizer, conversation)
        return list(ids)
    frame = chat.frame(conversation=conversation)
    return [*frame.before.tolist(), *ids, *frame.after.tolist()]


def place_of(tokenizer: Tokenizer, before: str, after: str, conversation: Conversation = PLAIN) -> Place:
    """The place of a string between two texts of a prompt. Raises as `encode_prompts`."""
    chat = chat_of(tokenizer)
    if chat is not None:
        return chat.frame(before, after, conversation)
    _check_plain(tokenizer, conversation)
    ids = [tokenizer.encode([before])[0], continuation_ids(tokenizer, after)]
    before_ids, after_ids = (np.asarray(own, dtype=np.int64) for own in ids)
    return StringInPrompt(before, after, before_ids, after_ids, tokenizer)


def answer_ids(tokenizer: Tokenizer, answer: str, *, begun: bool = False) -> tuple[int, ...]:
    """Ids of an answer's beginning, a target or a label written with a space before it, after a prompt.

    Args:
        begun: the prompt ends with a beginning of the answer, which this goes on from.
    """
    chat = chat_of(tokenizer)
    if chat is None or begun:
        return continuation_ids(plain_tokenizer(tokenizer), answer)
    return chat.answer_ids(answer)


def own_system(tokenizer: Tokenizer) -> str | None:
    """The system prompt of conversations that bring none; None: there is none, or nobody knows."""
    chat = chat_of(tokenizer)
    found: str | None = getattr(tokenizer, "own_system", None) if chat is None else chat.format.system_text
    return found


def takes_messages(tokenizer: Tokenizer) -> bool:
    """Whether conversations can be put to its model: by a chat template, or as they are, where others render them."""
    return chat_of(tokenizer) is not None or bool(getattr(tokenizer, "takes_messages", False))


def _one_text(tokenizer: Tokenizer, messages: Messages) -> str:
    if len(messages) > 1 or messages[0].role != "user":
        _check_takes_messages(tokenizer)
    return "\n".join(message.content for message in messages)


def _check_plain(tokenizer: Tokenizer, conversation: Conversation) -> None:
    if not conversation.plain:
        _check_takes_messages(tokenizer)


def _check_takes_messages(tokenizer: Tokenizer) -> None:
    if not takes_messages(tokenizer):
        raise VictimError(
            "a conversation of several messages, or with a system prompt, is for a model with a chat template: name "
            "such a model, or give chat: PATH, a template's file"
        )
