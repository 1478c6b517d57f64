"""Rules on an answer in text: a phrase, a pattern, or a call of a tool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.tokens.answers.bounded_search import check_pattern, found_in
from harness.tokens.answers.normalise import normalise_text, phrase_pattern
from harness.tokens.answers.tool_calls import ToolCall, tool_calls


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """What an answer may hold. Exactly one attribute is given.

    Attributes:
        phrase: words that stand in it, not inside a longer word, compared as `normalise_text` gives them.
        pattern: a regular expression of Python that is found somewhere in it; ``(?i)`` for any case.
        call: a tool that it calls, with at least these arguments; see `ToolCall.is_of`.
    """

    phrase: str = ""
    pattern: str = ""
    call: ToolCall | None = None

    def __post_init__(self) -> None:
        """Raise ValueError where none or several are given, or the pattern is none."""
        given = [name for name in ("phrase", "pattern", "call") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"a rule is one of phrase, pattern and call, got {' and '.join(given) or 'none of them'}")
        if self.phrase and not normalise_text(self.phrase):
            raise ValueError("an empty phrase is in every answer")
        check_pattern(self.pattern)
        if self.pattern and found_in(self.pattern, ""):
            raise ValueError(f"{self.pattern!r} is found in every answer, even in an empty one")

    def holds(self, answer: str) -> bool:
        """Whether an answer has it. Raises DataError where a pattern takes too long on it; see `found_in`."""
        if self.call is not None:
            return any(call.is_of(self.call) for call in tool_calls(answer))
        if self.pattern:
            return found_in(self.pattern, answer)
        return phrase_pattern(self.phrase).search(normalise_text(answer)) is not None

    @property
    def target(self) -> str:
        """An answer's beginning that keeps to it: the phrase, or the call as `ToolCall.text`; "" of a pattern."""
        return self.phrase if self.call is None else self.call.text

    def to_json(self) -> dict[str, Any]:
        """JSON data of the rule, the attribute that is given alone."""
        if self.call is not None:
            return {"call": self.call.to_json()}
        return {"phrase": self.phrase} if self.phrase else {"pattern": self.pattern}
