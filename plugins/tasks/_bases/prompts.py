"""What the prompts of built-in tasks share, and the study that most of them follow."""

from __future__ import annotations

ANSWER_PROMPT = "\n\nAnswer:"
STUDY = "Howe et al. 2024, Scaling Trends in Language Model Robustness, arXiv:2407.18213"


def instructions_block(instructions: str) -> str:
    """Instructions as a prompt's first chunk: with a blank line after them, or ""."""
    stripped = instructions.rstrip()
    return f"{stripped}\n\n" if stripped else ""
