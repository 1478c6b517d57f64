"""What the judges of answers in text share: which request was answered, and with which text."""

from __future__ import annotations

from harness import Answer, Edit, Example

_ELLIPSIS = " […]"


def answer_text(answer: Answer) -> str:
    """The answer's text, without white space around it."""
    return (answer.text or "").strip()


def request_text(example: Example) -> str:
    """The request, without the attack string and without what the task puts around all its requests; of a chunk that
    an attack replaces, the whole prompt. Of a conversation all messages, each with its role.
    """
    if not example.conversation.plain:
        return "\n".join(f"{message.role}: {message.content.strip()}" for message in example.messages)
    chunk = example.chunks[example.region]
    request = chunk.text.strip() if chunk.edit is Edit.PERTURBABLE else ""
    return request or example.text.strip()


def shortened(text: str, max_chars: int) -> str:
    """The beginning of a text, at most ``max_chars`` characters with the mark of what is left out."""
    return text if len(text) <= max_chars else text[: max(0, max_chars - len(_ELLIPSIS))] + _ELLIPSIS
