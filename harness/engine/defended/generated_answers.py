"""Answers in text as everybody reads them: without the model's reasoning, and with a word on those that are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.api.model.backend import Backend, Generated, GenerateItem, ReasoningBackend
from harness.surrogates import replace_surrogates
from harness.tokens.message import Prompt
from harness.tokens.prompts import chat_of
from harness.tokens.reasoning import split_reasoning


def generate_answers(backend: Backend, items: Sequence[GenerateItem]) -> list[Generated]:
    """What a backend generates, as `answer_in` gives it. Raises as `Backend.generate`."""
    if not items:
        return []
    return [answer_in(said, backend, item.asked) for item, said in zip(items, backend.generate(items), strict=True)]


def answer_in(said: Generated, backend: Backend, prompt: Prompt = "") -> Generated:
    """The answer in what a backend generated: its text without reasoning and half surrogate pairs, and whether it is
    one.

    The beginning that a chat model is given for its answers is part of them; that which the prompt ends with is not. Of
    a model that reasons, a text without any marker that the model did not end itself counts as cut off within reasoning
    whose beginning stood in the prompt, where its template does not tell.
    """
    if said.state != "answered":
        return said
    said = replace(said, text=replace_surrogates(said.text))
    chat = chat_of(backend.tokenizer)
    markers = backend.reasoning if isinstance(backend, ReasoningBackend) else None
    text: str | None = said.text
    if chat is not None:
        _, text = chat.format.split_reasoning(said.text, prompt)
    elif markers is not None:
        begun = not said.finished and not any(marker in said.text for marker in markers)
        _, text = split_reasoning(said.text, *markers, begun=begun)
    if text is None:
        return replace(said, text="", state="cut_off")
    if not text.strip():
        return replace(said, text=text, state="empty" if said.finished else "cut_off")
    return replace(said, text=text)
