"""Markdown tables out of texts that anybody may have written."""

from __future__ import annotations

from collections.abc import Sequence

from harness.records.visible_text import visible


def escape_markdown(text: str) -> str:
    """So that a plugin's label stays text in Markdown, on one line."""
    text = " ".join(visible(text).split())
    for sign in ("\\", "|", "<", "*", "_", "[", "`"):
        text = text.replace(sign, f"\\{sign}")
    return text


def titled_table(title: str, rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """A table with its title above and its notes below; the first row is its headings, the second their alignment."""
    lines = ["| " + " | ".join(map(escape_markdown, row)) + " |" for row in rows]
    below = [f"- {escape_markdown(note)}" for note in notes]
    return "\n".join([f"**{escape_markdown(title)}**", "", *lines, "", *below])
