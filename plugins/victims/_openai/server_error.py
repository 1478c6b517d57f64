"""What a server says in place of an answer, and what it means by it: servers differ in where and how they say it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from harness import replace_surrogates

_FILTER = re.compile(
    r"content[\s_-]*(filter|management|moderation|policy|exists risk)|responsible\s*ai|moderation|flagged|guardrail"
    r"|data[\s_-]*inspection|(inappropriate|prohibited|sensitive)[\s_-]*content|safety[\s_-]*(system|check|filter)"
    r"|violat\w*\b.{0,60}\b(polic|guideline|terms)",
    re.IGNORECASE | re.DOTALL,
)
_LIMIT = re.compile(r"(max_tokens|output) .{0,20}limit was reached", re.IGNORECASE)
_BUSY = re.compile(
    r"rate[\s_-]*limit|too many requests|overload|at capacity|unavailable|try again|time[d\s_-]*out", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error that a server told.

    Attributes:
        reason: what it says, in one line.
        code: its number, of HTTP or of the error itself; None where it has none.
        names: its codes and types in words, which may say more than the reason.
    """

    reason: str
    code: int | None = None
    names: str = ""

    @property
    def by_filter(self) -> bool:
        """Whether a content filter says so."""
        return _FILTER.search(f"{self.names} {self.reason}") is not None

    @property
    def at_limit(self) -> bool:
        """Whether the limit of tokens was reached before the answer began, as with models that reason."""
        return _LIMIT.search(self.reason) is not None

    @property
    def busy(self) -> bool:
        """Whether the same request may be answered later."""
        return _BUSY.search(f"{self.names} {self.reason}") is not None


def error_in_text(text: str, otherwise: str = "") -> ServerError:
    """The error in the body of an answer with an error's status.

    Args:
        otherwise: the reason where the body says nothing.
    """
    try:
        return _error(json.loads(text), otherwise)
    except ValueError:
        return ServerError(_line(text) or otherwise)


def error_in_answer(answer: dict[str, Any]) -> ServerError | None:
    """The error in an answer with the status of success: next to the choices, in place of them, or in one of them."""
    found = answer if answer.get("object") == "error" else answer.get("error")
    if isinstance(found, dict) and not any(found.values()):
        found = None  # an empty form
    choices = answer.get("choices")
    if not found and isinstance(choices, list):
        found = next((choice["error"] for choice in choices if isinstance(choice, dict) and choice.get("error")), None)
    return _error({"error": found}) if found else None


def _error(data: Any, otherwise: str = "") -> ServerError:
    message, names, code = data, list[str](), None
    for name in ("error", "message", "detail"):
        if not isinstance(message, dict):
            break
        for value in _codes(message):
            if str(value).isdecimal():
                code = int(value) if code is None else code
            else:
                names.append(str(value))
        message = message.get(name) or message
    if isinstance(message, list):  # of FastAPI: it repeats the request, whose words are not the server's
        message = [{k: v for k, v in one.items() if k != "input"} if isinstance(one, dict) else one for one in message]
    text = message if isinstance(message, str) else json.dumps(message)
    return ServerError(_line(text) or otherwise, code, " ".join(names))


def _codes(error: dict[str, Any]) -> list[str | int]:
    """The codes and types of an error, and of the one within it."""
    inner = error.get("innererror")
    objects = [error, inner] if isinstance(inner, dict) else [error]
    values = [one.get(name) for one in objects for name in ("code", "type", "status")]
    return [value for value in values if isinstance(value, str | int) and not isinstance(value, bool)]


def _line(text: str) -> str:
    return replace_surrogates(" ".join(text.split()))[:300]
