"""What stands in one choice of a server's answer: the text, in whatever form it comes, and whether it is a refusal."""

from __future__ import annotations

from typing import Any

from harness import AnswerState
from plugins.victims._openai.completions import Choice

_LIMITS = (None, "length", "max_tokens", "model_length")  # reasons to end that are not the model's own
_FILTERS = ("content_filter", "safety", "prohibited_content", "refusal")


def choice_text(choice: Choice) -> tuple[str, AnswerState]:
    """The text of a choice of either interface, and its state.

    A chat's content may be a text, a list of parts, or null. A refusal that stands in a field of its own, as text or as
    a part, is the text where there is no other.
    """
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else choice.get("text")
    text, refusal = _joined(content, "text"), _joined(content, "refusal")
    if isinstance(message, dict) and isinstance(message.get("refusal"), str):
        refusal = refusal or message["refusal"]
    if any(name in str(choice.get("finish_reason")).lower() for name in _FILTERS):
        return text or refusal, "refused"
    if refusal.strip() and not text.strip():
        return refusal, "refused"
    return text, "answered"


def ended_by_itself(choice: Choice) -> bool:
    """Whether the model ended the choice, rather than a limit of tokens."""
    return choice.get("finish_reason") not in _LIMITS


def reasoning_text(choice: Choice) -> str:
    """Reasoning that the server has parted from the answer itself; "" where there is none."""
    message = choice.get("message")
    fields = [message.get(name) for name in ("reasoning_content", "reasoning")] if isinstance(message, dict) else []
    return next((text for text in fields if isinstance(text, str)), "")


def _joined(content: Any, field: str) -> str:
    """The content's parts of that field, joined; a content or a part that is a plain text is ``text``."""
    parts = content if isinstance(content, list) else [content]
    named = [{"text": part} if isinstance(part, str) else part for part in parts]
    found = [part.get(field) for part in named if isinstance(part, dict)]
    return "".join(text for text in found if isinstance(text, str))
