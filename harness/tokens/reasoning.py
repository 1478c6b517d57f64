"""Reasoning that a model writes before or within its answer, and the answer without it."""

from __future__ import annotations

import re

KNOWN_MARKERS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<seed:think>", "</seed:think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)
"""Markers in use around reasoning, by how often they are met."""


def markers_in(template: str) -> tuple[str, str] | None:
    """The first of `KNOWN_MARKERS` whose closing one stands in a chat template; None: the template tells of none."""
    return next(((opening, closing) for opening, closing in KNOWN_MARKERS if closing in template), None)


def is_open(text: str, opening: str, closing: str) -> bool:
    """Whether a text ends within a block of reasoning."""
    return text.rfind(opening) > text.rfind(closing)


def split_reasoning(text: str, opening: str, closing: str, *, begun: bool = False) -> tuple[str, str | None]:
    """Part what a model wrote into its reasoning and its answer.

    Models close a block at its first closing marker, so blocks do not nest: an opening marker within one is part of
    the reasoning. A closing marker where no block is open says that what stands before it, back to the marker before,
    was reasoning whose beginning was left out; the chat templates of such models cut it off likewise.

    Args:
        opening, closing: the markers, e.g. ``<think>`` and ``</think>``.
        begun: the prompt ended within a block, so that the text begins in one.

    Returns:
        the reasoning, without its markers and the white space at its ends, several blocks parted by a line end; and the
        answer, the text as it is where it has no marker, else without the blocks and the white space around them,
        what stands between blocks parted by a line end. The answer is None where a block is not closed: the
        model did not come to one.
    """
    parts = re.split(f"({re.escape(opening)}|{re.escape(closing)})", text)
    if len(parts) == 1 and not begun:
        return "", text
    thought: list[str] = []
    said: list[str] = []
    inside, since = begun, ""
    for part in parts:
        if part == closing:
            thought.append(since)
            inside, since = False, ""
        elif part == opening and not inside:
            said.append(since)
            inside, since = True, ""
        else:
            since += part
    (thought if inside else said).append(since)
    reasoning, answer = ("\n".join(filter(None, (part.strip() for part in parts))) for parts in (thought, said))
    return reasoning, None if inside else answer
