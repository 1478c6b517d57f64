"""Mean lengths of a task's texts, from a sample of them, for estimates."""

from __future__ import annotations

from harness import TaskData

SAMPLE_SIZE = 300  # training examples


def mean_prompt_and_reply_chars(data: TaskData) -> float:
    """Characters per training example, its prompt and its reply; 0 where there are none."""
    sample = data.train[:SAMPLE_SIZE]
    return sum(len(example.text) + len(example.reply) for example in sample) / max(1, len(sample))


def mean_reply_chars(data: TaskData) -> float:
    """Characters per reply; 0 where there are none."""
    sample = data.train[:SAMPLE_SIZE]
    return sum(len(example.reply) for example in sample) / max(1, len(sample))
