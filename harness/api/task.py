"""Tasks: labelled examples made of chunks, of which the attacker may change exactly one."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, Literal

from harness.api.plugin import Kind, Plugin
from harness.errors import DataError
from harness.tokens.answers.answer_rule import AnswerRule
from harness.tokens.message import PLAIN, Conversation, Message, Messages, Prompt, Role
from harness.tokens.special_tokens import EVERYWHERE, FixedParts

NO_LABEL = -1
"""Label and proxy label of an example that is answered in text."""

TaskKind = Literal["labels", "text"]
"""How a victim answers: with one of the task's labels, or in text."""


class Edit(StrEnum):
    """What an attacker may do to a chunk."""

    IMMUTABLE = "immutable"
    PERTURBABLE = "perturbable"  # attack text is inserted
    OVERWRITABLE = "overwritable"  # attack text replaces the chunk


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the prompt, and what an attacker may do to it.

    Attributes:
        base: it is for base models, such as the words after which one answers: left out for a model that has a chat
            template.
    """

    text: str
    edit: Edit = Edit.IMMUTABLE
    base: bool = False


@dataclass(frozen=True, slots=True)
class AnyBut:
    """What the attacker wants to hear of an untargeted example: any label but this, the true one."""

    label: int


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task.

    Attributes:
        id: stable within the task and split, e.g. ``validation-00017``.
        chunks: joined without separator they are the prompt; exactly one may be changed. In a conversation, the message
            that may be changed.
        label: index into the task's labels; `NO_LABEL` where the answer is a text.
        proxy_label: the label the attacker wants (``1 - label`` when there are two); `NO_LABEL` as above, or where any
            label but the true one will do: then the loss is -log of the probability of all others together.
        target: of a text answer, its beginning as the attacker wants it, with the space that stands before it.
        reply: of a text answer, a good one, for training; "" where there is none.
        benign: whether the prompt is one that a good victim answers, so that the attacker wants a refusal.
        attackable: whether it is attacked. One that is not counts for clean accuracy and training alone, and needs no
            proxy label.
        conversation: the messages around that of the chunks; by default none: the prompt is what the user says. See
            `of_messages`.
        forbidden: of a text answer, what must not come: any of these rules is what the attacker wants. For judges.
        wanted: of a text answer, the rules that it keeps, all of them, when it does what the user asked; none where
            nothing tells that. See `utility_of`.
    """

    id: str
    chunks: tuple[Chunk, ...]
    label: int = NO_LABEL
    proxy_label: int = NO_LABEL
    target: str = ""
    reply: str = ""
    benign: bool = False
    attackable: bool = True
    conversation: Conversation = PLAIN
    forbidden: tuple[AnswerRule, ...] = ()
    wanted: tuple[AnswerRule, ...] = ()

    def __post_init__(self) -> None:
        changeable = len([chunk for chunk in self.chunks if chunk.edit is not Edit.IMMUTABLE])
        if changeable != 1:
            raise DataError(f"example {self.id}: exactly one chunk may be changeable, found {changeable}")
        if self.label == self.proxy_label != NO_LABEL:
            raise DataError(f"example {self.id}: label and proxy_label are both {self.label}")

    @classmethod
    def of_messages(
        cls, name: str, messages: Sequence[Message | tuple[Role, Sequence[Chunk]]], **fields: Any
    ) -> Example:
        """An example that is a conversation, for chat models.

        Args:
            name: its id.
            messages: in order; exactly one of them as ``(role, chunks)``, the one that may be changed.
            fields: the other attributes.

        Raises:
            DataError: none or several may be changed.
        """
        at = [i for i, message in enumerate(messages) if not isinstance(message, Message)]
        if len(at) != 1:
            raise DataError(
                f"example {name}: exactly one message may be changeable, found {len(at)}; give it as (role, chunks), "
                "the others as Message(role, text)"
            )
        role, chunks = messages[at[0]]  # type: ignore[misc]
        before, after = (
            tuple(message for message in part if isinstance(message, Message))
            for part in (messages[: at[0]], messages[at[0] + 1 :])
        )
        Message(role, "")  # raises for an unknown role
        return cls(name, tuple(chunks), conversation=Conversation(before, role, after), **fields)

    @property
    def text(self) -> str:
        """The clean prompt: all chunks joined; of a conversation, the message that may be changed."""
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def prompt(self) -> Prompt:
        """What the victim is asked: the text, or the messages of a conversation."""
        return self.conversation.prompt(self.text)

    @property
    def messages(self) -> Messages:
        """The same as messages."""
        return self.conversation.messages(self.text)

    @property
    def goal(self) -> int | AnyBut:
        """What the attacker wants to hear: the proxy label, or any but the true one; `NO_LABEL` of a text."""
        return AnyBut(self.label) if self.proxy_label == NO_LABEL != self.label else self.proxy_label

    def utility_of(self, answer: str | None) -> bool | None:
        """Whether an answer in text does what the user asked; None where no rule tells it.

        Args:
            answer: None where a guard blocked it, which does nothing for the user.
        """
        if not self.wanted:
            return None
        return answer is not None and all(rule.holds(answer) for rule in self.wanted)

    def holds_forbidden(self, answer: str | None) -> bool:
        """Whether an answer in text holds what must not come; None, of a guard that blocked it, holds nothing."""
        return answer is not None and any(rule.holds(answer) for rule in self.forbidden)

    @property
    def region(self) -> int:
        """Index of the chunk that may be changed."""
        for index, chunk in enumerate(self.chunks):
            if chunk.edit is not Edit.IMMUTABLE:
                return index
        raise AssertionError("checked when it was made")


@dataclass(frozen=True)
class TaskData:
    """The examples of a task and what they hash to.

    Attributes:
        labels: label texts in index order, each with the leading space with which a language model would generate it;
            none where the victim answers in text.
        train, validation: examples, in a fixed order; their prompts share nothing that would leak.
        source: where the data came from, such as revision and file hash; how many rows were left out or changed stands
            under ``dropped, REASON`` and ``mended, REASON``.
        answer_tokens: longest answer in text, in the victim's tokens.
        parse_special_tokens: special tokens that are spelled out, such as ``</s>``, count as such wherever they stand;
            else only in what all prompts begin or end with.
    """

    labels: tuple[str, ...]
    train: Sequence[Example]
    validation: Sequence[Example]
    source: dict[str, str] = field(default_factory=dict)
    answer_tokens: int = 64
    parse_special_tokens: bool = False

    @property
    def kind(self) -> TaskKind:
        """How a victim answers: with one of the labels, or in text."""
        return "labels" if self.labels else "text"

    @cached_property
    def plain(self) -> bool:
        """Whether every example is a single message of the user, which is what a prompt without messages is."""
        return all(example.conversation.plain for split in (self.train, self.validation) for example in split)

    @cached_property
    def for_chat(self) -> TaskData:
        """The same for a model that has a chat template: without the chunks that are for base models."""
        if not any(chunk.base for split in (self.train, self.validation) for one in split for chunk in one.chunks):
            return self
        train, validation = (
            [replace(one, chunks=tuple(chunk for chunk in one.chunks if not chunk.base)) for one in split]
            for split in (self.train, self.validation)
        )
        return replace(self, train=train, validation=validation)

    @cached_property
    def hash(self) -> str:
        """sha256 over labels and all examples of both splits, as canonical JSON; hexadecimal."""
        digest = hashlib.sha256(json.dumps(list(self.labels)).encode())
        for example in (*self.train, *self.validation):
            chunks = [[chunk.text, chunk.edit.value] for chunk in example.chunks]
            row: list[object] = [example.id, chunks, example.label, example.proxy_label]
            if not self.labels:
                row += [example.target, example.reply, example.benign]
            if not example.attackable:  # so that hashes are those of before there were such
                row.append("not attackable")
            if not example.conversation.plain:
                row.append(example.conversation.to_json())
            for name, rules in (("forbidden", example.forbidden), ("wanted", example.wanted)):
                if rules:
                    row.append({name: [rule.to_json() for rule in rules]})
            digest.update(json.dumps(row).encode())
            digest.update(b"\n")
        if not self.labels:
            digest.update(json.dumps(self.answer_tokens).encode())
        if self.parse_special_tokens:
            digest.update(b"special tokens are parsed")
        return digest.hexdigest()

    @cached_property
    def fixed_parts(self) -> FixedParts:
        """Where special tokens that are spelled out count as such: in the chunks that all prompts begin or end with."""
        if self.parse_special_tokens:
            return EVERYWHERE
        examples = (*self.train, *self.validation)
        if not examples:
            return FixedParts("", "")
        before, after = ([chunk.text for chunk in side] for side in _sides(examples[0]))
        for example in examples:
            before_of, after_of = _sides(example)
            _keep_shared(before, before_of)
            _keep_shared(after, after_of)
        return FixedParts("".join(before), "".join(reversed(after)))

    @property
    def changes(self) -> tuple[str, ...]:
        """What was left out or changed while the data were read, e.g. ``dropped, copies: 12``."""
        return tuple(
            f"{what}: {count}" for what, count in self.source.items() if what.startswith(("dropped, ", "mended, "))
        )

    @cached_property
    def text(self) -> TaskData:
        """The same prompts without labels: what a language model is made ready with."""
        if not self.labels:
            return self
        train, validation = ([_without_label(example) for example in split] for split in (self.train, self.validation))
        return TaskData((), train, validation, self.source, parse_special_tokens=self.parse_special_tokens)


def _sides(example: Example) -> tuple[tuple[Chunk, ...], tuple[Chunk, ...]]:
    """The chunks before the one that may be changed, and those after it, the last first."""
    region = example.region
    return example.chunks[:region], example.chunks[:region:-1]


def _keep_shared(texts: list[str], chunks: Sequence[Chunk]) -> None:
    """Cut the texts off where the chunks begin to differ from them."""
    for index, text in enumerate(texts):
        if index == len(chunks) or chunks[index].text != text:
            del texts[index:]
            return


def _without_label(example: Example) -> Example:
    return Example(example.id, example.chunks, conversation=example.conversation)


class Task(Plugin):
    """A source of examples. Implement `load`.

    Attributes:
        answers: how a victim answers: with one of the labels, or in text.
    """

    kind: ClassVar[Kind] = "task"
    answers: ClassVar[TaskKind] = "labels"

    def validation_count(self) -> int | None:
        """How many validation examples `load` gives, where the parameters alone tell that; None: the data must be read.

        A submission to a leaderboard is held against it where its data are not at hand.
        """
        return None

    def outline(self) -> TaskData | None:
        """Made-up examples, about as many and as long as those of `load`, for a plan where these cannot be read. None:
        that is not known without them.
        """
        return None

    @abstractmethod
    def load(self) -> TaskData:
        """Read or generate the data; the same parameters always give the same data.

        Raises:
            DataError: the data is missing or malformed; names the file, the column or row, and the fix.
        """
