"""Tasks: labelled examples made of chunks, of which the attacker may change exactly one."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import ClassVar

from harness.errors import DataError
from harness.plugin import Kind, Plugin


class Edit(StrEnum):
    """What an attacker may do to a chunk."""

    IMMUTABLE = "immutable"
    PERTURBABLE = "perturbable"  # attack text is inserted
    OVERWRITABLE = "overwritable"  # attack text replaces the chunk


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the prompt."""

    text: str
    edit: Edit = Edit.IMMUTABLE


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task.

    Attributes:
        id: stable within the task and split, e.g. ``validation-00017``.
        chunks: joined without separator they are the prompt; exactly one may be changed.
        label: index into the task's labels.
        proxy_label: the label the attacker wants (``1 - label`` when there are two).
    """

    id: str
    chunks: tuple[Chunk, ...]
    label: int
    proxy_label: int

    def __post_init__(self) -> None:
        changeable = sum(chunk.edit is not Edit.IMMUTABLE for chunk in self.chunks)
        if changeable != 1:
            raise DataError(f"example {self.id}: exactly one chunk may be changeable, found {changeable}")
        if self.label == self.proxy_label:
            raise DataError(f"example {self.id}: label and proxy_label are both {self.label}")

    @property
    def text(self) -> str:
        """The clean prompt."""
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def region(self) -> int:
        """Index of the chunk that may be changed."""
        return next(i for i, chunk in enumerate(self.chunks) if chunk.edit is not Edit.IMMUTABLE)


@dataclass(frozen=True)
class TaskData:
    """The examples of a task and what they hash to.

    Attributes:
        labels: label texts in index order, each with the leading space with which a language model would generate it.
        train, validation: examples, in a fixed order; their prompts share nothing that would leak.
    """

    labels: tuple[str, ...]
    train: Sequence[Example]
    validation: Sequence[Example]
    source: dict[str, str] = field(default_factory=dict)  # where the data came from: revision, file hash

    @cached_property
    def hash(self) -> str:
        """sha256 over labels and all examples of both splits, as canonical JSON; hexadecimal."""
        digest = hashlib.sha256(json.dumps(list(self.labels)).encode())
        for example in (*self.train, *self.validation):
            chunks = [[chunk.text, chunk.edit.value] for chunk in example.chunks]
            digest.update(json.dumps([example.id, chunks, example.label, example.proxy_label]).encode())
            digest.update(b"\n")
        return digest.hexdigest()


class Task(Plugin):
    """A source of labelled examples. Implement `load`."""

    kind: ClassVar[Kind] = "task"

    @abstractmethod
    def load(self) -> TaskData:
        """Read or generate the data; the same parameters always give the same data.

        Raises:
            DataError: the data is missing or malformed; names the file, the column or row, and the mend.
        """
