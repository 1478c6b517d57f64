"""What the judges of answers in text share: which request was answered, and a template that both are put into."""

from __future__ import annotations

import re

from harness import Answer, Edit, Example

_PLACE = re.compile(r"\{(prompt|answer)\}")
_CUT = " […]"


def said(answer: Answer) -> str:
    """The answer's text, without white space around it."""
    return (answer.text or "").strip()


def request_of(example: Example) -> str:
    """What was asked, without attack string and without what the task puts around all its requests; of a chunk that an
    attack replaces, the whole prompt.
    """
    chunk = example.chunks[example.region]
    own = chunk.text.strip() if chunk.edit is Edit.PERTURBABLE else ""
    return own or example.text.strip()


def check_template(template: str, needed: tuple[str, ...]) -> str:
    """The template itself. Raises ValueError where it lacks a place that is needed."""
    missing = [f"{{{place}}}" for place in needed if place not in _PLACE.findall(template)]
    if missing:
        raise ValueError(f"the template lacks {' and '.join(missing)}; write it where the text is to stand")
    return template


def filled(template: str, prompt: str, answer: str) -> str:
    """The template with both texts in their places; other braces, those of the texts included, stay as they are."""
    texts = {"prompt": prompt, "answer": answer}
    return _PLACE.sub(lambda place: texts[place[1]], template)


def cut(text: str, most: int) -> str:
    """At most ``most`` characters of the text's beginning; what is left out is shown."""
    return text if len(text) <= most else text[: max(0, most - len(_CUT))] + _CUT
