"""How long a task's texts are, from a few of them: for estimates."""

from __future__ import annotations

from harness import TaskData

SAMPLE = 300  # training examples that are looked at


def mean_length(data: TaskData) -> float:
    """Characters per training example, its prompt and its reply; 0 where there are none."""
    sample = data.train[:SAMPLE]
    return sum(len(example.text) + len(example.reply) for example in sample) / max(1, len(sample))


def mean_reply(data: TaskData) -> float:
    """Characters per reply; 0 where there are none."""
    sample = data.train[:SAMPLE]
    return sum(len(example.reply) for example in sample) / max(1, len(sample))
