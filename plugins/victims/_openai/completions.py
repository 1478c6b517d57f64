"""Requests to ``/v1/completions``: rows of tokens out, choices in; a refused row costs no other row its answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness import Tokenizer, VictimError
from plugins.victims._openai.http_client import JsonClient, Refusal

PATH = "completions"
Row = tuple[int, ...]
"""Token ids, special ones included."""
Choice = dict[str, Any]
"""An entry of an answer's ``choices``."""


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """How a server takes prompts.

    Attributes:
        ids: whether as token ids, which is exact; else as text, which it tokenises itself.
        batch: prompts per request, at most.
    """

    ids: bool
    batch: int


class Completions:
    """Sends rows of token ids to a server's model for completion.

    Attributes:
        client, model, tokenizer: the server, the name of its model, and the model's tokenizer.
        prompts: how the server takes prompts.
        sampled: whether requests leave the temperature to the server.
        refused: rows that the server declined so far.
        first_refusal: what it said of the first of them.
    """

    def __init__(
        self, client: JsonClient, model: str, tokenizer: Tokenizer, prompts: PromptFormat, *, sampled: bool = False
    ) -> None:
        self.client, self.model, self.tokenizer, self.prompts = client, model, tokenizer, prompts
        self.sampled = sampled
        self.refused = 0
        self.first_refusal: str | None = None

    @property
    def base_url(self) -> str:
        """Address of the server, for errors and the manifest."""
        return self.client.config.base_url

    def complete(self, rows: Sequence[Row], extra: dict[str, Any]) -> list[Choice | Refusal]:
        """The choice for each row. A refused batch is sent again in halves, down to the row that is to blame.

        Args:
            extra: further fields of the requests.

        Raises:
            VictimError: the server is gone, or does not answer as it should.
        """
        answers: dict[int, Choice | Refusal] = {}
        size = self.prompts.batch
        batches = [list(range(start, min(start + size, len(rows)))) for start in range(0, len(rows), size)]
        while batches:
            bodies = [self.body([rows[i] for i in batch], extra) for batch in batches]
            halves: list[list[int]] = []
            for batch, answer in zip(batches, self.client.post(PATH, bodies), strict=True):
                if not isinstance(answer, Refusal):
                    answers.update(zip(batch, choices(answer, len(batch)), strict=True))
                elif len(batch) == 1:
                    answers[batch[0]] = answer
                else:
                    halves += [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
            batches = halves
        for answer in answers.values():
            if isinstance(answer, Refusal):
                self.count_refusal(answer)
        return [answers[i] for i in range(len(rows))]

    def count_refusal(self, refusal: Refusal) -> None:
        """Count a refused row, for the manifest."""
        self.refused += 1
        self.first_refusal = self.first_refusal or str(refusal)

    def forget_refusals(self) -> None:
        """Count refused rows from 0 again."""
        self.refused, self.first_refusal = 0, None

    def body(self, rows: Sequence[Row], extra: dict[str, Any]) -> dict[str, Any]:
        """The request for some rows."""
        prompts: list[Any] = (
            [list(row) for row in rows]
            if self.prompts.ids
            else list(self.tokenizer.decode([self.as_sent(row) for row in rows]))
        )
        # Some servers take one prompt only, as it is.
        prompt = prompts[0] if self.prompts.batch == 1 else prompts
        return {"model": self.model, "prompt": prompt} | ({} if self.sampled else {"temperature": 0.0}) | extra

    def as_sent(self, row: Row) -> Row:
        """The ids of a row that are sent: as text, those without the special ids around it, which the server adds."""
        if self.prompts.ids:
            return row
        left, right = self.tokenizer.left, self.tokenizer.right
        inner = row[len(left) :] if row[: len(left)] == left else row
        return inner[: -len(right)] if right and inner[-len(right) :] == right else inner

    @property
    def max_added_tokens(self) -> int:
        """How many tokens a server may put before what is sent, at most: none before ids, special ones before text."""
        return 0 if self.prompts.ids else max(1, len(self.tokenizer.left))


def choices(answer: dict[str, Any], count: int) -> list[Choice]:
    """The choices of an answer to ``count`` prompts, in the order of the prompts.

    Raises:
        VictimError: there are more or fewer.
    """
    given = answer.get("choices")
    if not isinstance(given, list) or len(given) != count or not all(isinstance(choice, dict) for choice in given):
        number = len(given) if isinstance(given, list) else "no"
        said = json.dumps(answer)[:200]
        raise VictimError(
            f"the server answered {count} prompts with {number} choices ({said}); is it OpenAI-compatible?"
        )
    places = [choice.get("index") for choice in given]
    if not all(isinstance(place, int) for place in places):
        return given  # no more is known than the order they come in
    return [given[at] for at in sorted(range(count), key=places.__getitem__)]


def usage_count(answer: dict[str, Any], name: str) -> int | None:
    """A count of tokens in an answer's ``usage``; None where the server does not tell it."""
    usage = answer.get("usage")
    counted = usage.get(name) if isinstance(usage, dict) else None
    return counted if isinstance(counted, int) and not isinstance(counted, bool) and counted >= 0 else None
