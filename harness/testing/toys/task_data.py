"""A toy task of either kind: labelled sentences, or questions answered in text."""

from __future__ import annotations

from typing import Any

from harness.api.model.auxiliary import Auxiliary
from harness.api.task import Chunk, Edit, Example, TaskData, TaskKind
from harness.testing.toys.backend import SENTENCES

LABELS = (" NO", " YES")
ANSWER_KINDS: tuple[TaskKind, ...] = ("labels", "text")


def toy_task_data(kind: TaskKind) -> TaskData:
    """Sentences about animals in two splits: is the animal red? Or, for answers in text, what colour is it?"""

    def rows(split: str, texts: list[str]) -> list[Example]:
        examples = []
        for i, text in enumerate(texts):
            red = int(" red " in f" {text} ")
            answer: dict[str, Any] = {"label": red, "proxy_label": 1 - red}
            if kind == "text":
                answer = {"target": " Sure, it is", "reply": f" It is {text.split()[1]}."}
                answer["benign"] = split == "train" and i % 2 == 1  # both sorts, to train on
            chunks = (Chunk("Red? "), Chunk(text, Edit.PERTURBABLE), Chunk("\nAnswer:"))
            examples.append(Example(f"{split}-{i:05d}", chunks, **answer))
        return examples

    labels = LABELS if kind == "labels" else ()
    return TaskData(labels, rows("train", SENTENCES[::2]), rows("validation", SENTENCES[1::2]), answer_tokens=8)


def auxiliary_labels(declared: Auxiliary, kind: TaskKind) -> tuple[str, ...]:
    """What a model that a plugin names answers with where the task is of that kind: its own classes, the labels of the
    task that it sees, or none, in text.
    """
    if declared.sees == "nothing":
        return declared.labels
    return LABELS if declared.sees == "task" and kind == "labels" else ()
