"""The wire format of ``/v1/completions``: rows of tokens out, choices in; a row that is refused costs no other row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness import Tokenizer, VictimError
from plugins.victims._openai.server import Refusal, Server

PATH = "completions"
Row = tuple[int, ...]
Choice = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prompts:
    """How a server takes prompts.

    Attributes:
        ids: as token ids, which is exact; else as text, which it tokenises itself.
        batch: prompts per request at most.
    """

    ids: bool
    batch: int


class Completions:
    """Rows of token ids, answered by a server.

    Attributes:
        refused: rows that the server would not answer so far.
        reason: what it said to the first of them.
    """

    def __init__(self, server: Server, model: str, tokenizer: Tokenizer, prompts: Prompts) -> None:
        self.server, self.model, self.tokenizer, self.prompts = server, model, tokenizer, prompts
        self.refused = 0
        self.reason: str | None = None

    def ask(self, rows: Sequence[Row], extra: dict[str, Any]) -> list[Choice | Refusal]:
        """The choice for each row. A batch that is refused is asked again in halves, down to the row that is to blame.

        Args:
            extra: further fields of the requests.

        Raises:
            VictimError: the server is gone, or does not answer as it should.
        """
        answers: dict[int, Choice | Refusal] = {}
        size = self.prompts.batch
        waiting = [list(range(at, min(at + size, len(rows)))) for at in range(0, len(rows), size)]
        while waiting:
            bodies = [self.body([rows[i] for i in part], extra) for part in waiting]
            again: list[list[int]] = []
            for part, answer in zip(waiting, self.server.post(PATH, bodies), strict=True):
                if not isinstance(answer, Refusal):
                    answers.update(zip(part, choices(answer, len(part)), strict=True))
                elif len(part) == 1:
                    answers[part[0]] = answer
                else:
                    again += [part[: len(part) // 2], part[len(part) // 2 :]]
            waiting = again
        refusals = [answer for answer in answers.values() if isinstance(answer, Refusal)]
        if refusals:
            self.refused += len(refusals)
            self.reason = self.reason or f"status {refusals[0].status}: {refusals[0].reason}"
        return [answers[i] for i in range(len(rows))]

    def body(self, rows: Sequence[Row], extra: dict[str, Any]) -> dict[str, Any]:
        """The request for some rows."""
        prompts: list[Any] = (
            [list(row) for row in rows]
            if self.prompts.ids
            else list(self.tokenizer.decode([self.sent(row) for row in rows]))
        )
        # Some servers take one prompt only, as it is.
        prompt = prompts[0] if self.prompts.batch == 1 else prompts
        return {"model": self.model, "prompt": prompt, "temperature": 0.0} | extra

    def sent(self, row: Row) -> Row:
        """What is sent of a row. As text it goes without the special ids around it: the server puts its own there."""
        if self.prompts.ids:
            return row
        left, right = self.tokenizer.left, self.tokenizer.right
        plain = row[len(left) :] if row[: len(left)] == left else row
        return plain[: -len(right)] if right and plain[-len(right) :] == right else plain

    @property
    def added(self) -> int:
        """How many tokens a server may put before what is sent: none to ids, its special ones to a text."""
        return 0 if self.prompts.ids else max(1, len(self.tokenizer.left))


def choices(answer: dict[str, Any], count: int) -> list[Choice]:
    """The choices of an answer to ``count`` prompts, in the order of the prompts.

    Raises:
        VictimError: there are more or fewer.
    """
    found = answer.get("choices")
    if not isinstance(found, list) or len(found) != count or not all(isinstance(choice, dict) for choice in found):
        got = len(found) if isinstance(found, list) else "no"
        raise VictimError(f"the server answered {count} prompts with {got} choices; is it OpenAI-compatible?")
    return sorted(found, key=lambda choice: int(choice.get("index", 0)))
