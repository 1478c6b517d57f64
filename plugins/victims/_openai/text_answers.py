"""Answers in text from a server: the requests, by either of its interfaces, and what is read from the responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness import UNKNOWN, Generated, GenerateItem
from plugins.victims._openai.completions import PATH, Choice, Completions, Row, choices
from plugins.victims._openai.http_client import Refusal
from plugins.victims._openai.probe import RETURN_TOKEN_IDS, ServerProbe, generated_ids

CHAT_PATH = "chat/completions"
_SEEDS = 2**31  # servers take seeds of 63 bits at most, some of 31


@dataclass(frozen=True)
class ServedModel:
    """What a backend is told about its model.

    Attributes:
        facts: what the server says of it, for the manifest.
        context: longest row in tokens that the server takes, with what it generates.
        api: which of the server's interfaces answers `Generate`.
        n_params: as stated by the user; None: unknown.
        reasoning: the markers around what it writes before its answers; None: it writes nothing such.
    """

    facts: dict[str, Any]
    context: int
    api: Literal["completions", "chat"]
    n_params: int | None
    reasoning: tuple[str, str] | None = None


class TextAnswers:
    """Requests answers in text from a server."""

    def __init__(self, completions: Completions, probe: ServerProbe, served: ServedModel) -> None:
        self._completions, self._probe, self._served = completions, probe, served
        self._tokenizer = completions.tokenizer

    @property
    def takes_ids(self) -> bool:
        """Whether prompts are sent as token ids; else as text."""
        return self._served.api == "completions" and self._probe.prompts.ids

    def generate(self, items: Sequence[GenerateItem], rows: Sequence[Row]) -> list[Generated]:
        """The answers; one that the server refused is empty and not finished.

        Args:
            rows: the prompts' tokens.

        Raises:
            VictimError: the server is gone.
        """
        chat = self._served.api == "chat"
        bodies = [self._body(item, row) for item, row in zip(items, rows, strict=True)]
        answers = self._completions.client.post(CHAT_PATH if chat else PATH, bodies)
        return [self._generated(answer, row) for answer, row in zip(answers, rows, strict=True)]

    def _body(self, item: GenerateItem, row: Row) -> dict[str, Any]:
        body = {"model": self._completions.model, "temperature": item.temperature, "seed": item.seed % _SEEDS}
        if self._served.api == "chat":
            message = {"role": "user", "content": item.prompt}
            return body | {"messages": [message], "max_tokens": item.max_tokens}
        bare = getattr(self._tokenizer, "bare", str)  # the server puts special tokens before a text itself
        prompt = list(row) if self.takes_ids else bare(item.prompt)
        body |= {"prompt": prompt, "max_tokens": min(item.max_tokens, self._served.context - len(row))}
        return body | (RETURN_TOKEN_IDS if self._probe.gives_ids else {})

    def _generated(self, answer: dict[str, Any] | Refusal, row: Row) -> Generated:
        if isinstance(answer, Refusal):
            self._completions.count_refusal(answer)
            return Generated("", False, len(row), 0, UNKNOWN)
        (choice,) = choices(answer, 1)
        finished, ids = choice.get("finish_reason") == "stop", generated_ids(choice)
        if self._probe.gives_ids and ids is not None:
            ended = finished and bool(ids) and ids[-1] in self._tokenizer.special
            text = self._decode_after(row, ids[:-1] if ended else ids)
            return Generated(text, finished, len(row), len(ids), UNKNOWN)
        text = self._text(choice)
        usage = answer.get("usage") or {}
        generated = usage.get("completion_tokens")
        if generated is None:
            generated = len(self._tokenizer.encode([text])[0])
        return Generated(text, finished, int(usage.get("prompt_tokens", len(row))), int(generated), UNKNOWN)

    def _text(self, choice: Choice) -> str:
        chat = self._served.api == "chat"
        text = choice.get("message", {}).get("content") if chat else choice.get("text")
        return text if isinstance(text, str) else ""

    def _decode_after(self, row: Row, ids: list[int]) -> str:
        """The text of generated ids in context: some decoders drop the space at the beginning of a text."""
        before = list(row[len(self._tokenizer.left) :])
        whole, prompt = self._tokenizer.decode([[*before, *ids], before])
        return whole[len(prompt) :] if whole.startswith(prompt) else self._tokenizer.decode([ids])[0]
