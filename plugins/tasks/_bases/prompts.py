"""Pieces that the prompts of all built-in tasks share."""

from __future__ import annotations

ANSWER_PROMPT = "\n\nAnswer:"
STUDY = "Howe et al. 2024, Scaling Trends in Language Model Robustness, arXiv:2407.18213"


def lead(instructions: str) -> str:
    """Instructions as the first chunk: set apart from what follows by one blank line, or nothing at all."""
    stripped = instructions.rstrip()
    return f"{stripped}\n\n" if stripped else ""
