"""Task data, loaded once per run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from operator import attrgetter

from harness.api.task import NO_LABEL, Chunk, Example, Task, TaskData, TaskKind
from harness.errors import DataError, HarnessError, error_text, first_line
from harness.hashing import canonical_json
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.surrogates import has_surrogates
from harness.tokens.message import Conversation


class TaskDataCache:
    """Loads each distinct task once and keeps it.

    Args:
        outlined: take what the task makes up (`Task.outline`) where its data cannot be read, for a plan.

    Attributes:
        made_up: of which tasks that was taken, and why, in words.
    """

    def __init__(self, *, outlined: bool = False) -> None:
        self._outlined = outlined
        self.made_up: list[str] = []
        self._loaded: dict[str, TaskData] = {}
        self._failed: dict[str, str] = {}  # what failed once is not tried again for every cell

    def data(self, task: ResolvedPlugin) -> TaskData:
        """The data of a task.

        Raises:
            DataError: it cannot be read; errors that are not ours are named with the task.
        """
        key = canonical_json([task.identity(), task.plugin.params.model_dump(mode="json")])
        if key in self._failed:
            raise DataError(self._failed[key])
        if key not in self._loaded:
            assert isinstance(task.plugin, Task)
            try:
                data = task.plugin.load()
                if not isinstance(data, TaskData):
                    raise TypeError(f"load() returned {type(data).__name__}, not TaskData")
                _check(f"task {task.name}", data, task.plugin.answers)
                data = _without_copies(f"task {task.name}", data)
            except HarnessError as error:
                if (made_up := self._outline(task, error)) is not None:
                    self._loaded[key] = made_up
                    return made_up
                self._failed[key] = str(error)
                raise
            except Exception as error:
                self._failed[key] = f"task {task.name} ({task.distribution}): {error_text(error)}"
                raise DataError(self._failed[key]) from error
            self._loaded[key] = data
        return self._loaded[key]

    def _outline(self, task: ResolvedPlugin, error: HarnessError) -> TaskData | None:
        data = task.plugin.outline() if self._outlined and isinstance(task.plugin, Task) else None
        if data is not None:
            how = f"made-up texts of its published size ({data.source.get('made up', 'as the task tells')})"
            self.made_up.append(f"{task.label}: planned with {how}; its data cannot be read here: {first_line(error)}")
        return data


def _check(task: str, data: TaskData, answers: TaskKind) -> None:
    """Raise DataError where the data are not what the task says of them, or an example lacks what its kind needs."""
    if data.kind != answers:
        raise DataError(
            f"{task}: its `answers` is {answers!r}, and its data have {len(data.labels)} labels; write "
            f"answers = {data.kind!r}, or fix load()"
        )
    if data.answer_tokens < 1:
        raise DataError(f"{task}: answer_tokens is {data.answer_tokens}; an answer has at least 1 token")
    if any(map(has_surrogates, data.labels)):
        raise DataError(f"{task}: its labels hold half of a surrogate pair, which is not a character: {data.labels}")
    wrong = _wrong_label if data.labels else _wrong_answer
    for split, examples in (("train", data.train), ("validation", data.validation)):
        # A benchmark of prompts or questions has nothing to learn from; a victim that must be trained says so itself.
        learnt = data.labels and any(example.attackable for example in data.validation)
        if not examples and (learnt or split == "validation"):
            raise DataError(f"{task}: the {split} split is empty")
        ids = {example.id for example in examples}
        if len(ids) != len(examples):
            raise DataError(f"{task}: the {split} split has two examples with one id")
        for example in examples:
            what = wrong(example, data) or _half_character(example)
            if what:
                raise DataError(f"{task}: example {example.id}: {what}")


def _half_character(example: Example) -> str:
    """What is wrong with the text of an example for UTF-8, or nothing."""
    texts = [example.id, *(message.content for message in example.messages), example.target, example.reply]
    if not any(map(has_surrogates, texts)):
        return ""
    return (
        "it holds half of a surrogate pair, which is not a character; put its texts through harness.replace_surrogates"
    )


def _without_copies(task: str, data: TaskData) -> TaskData:
    """The data without examples that are equal to another of their split in all but the id: counted as many, they would
    make intervals too narrow.

    Raises:
        DataError: two examples have one prompt and different right answers.
    """
    first: dict[tuple[tuple[Chunk, ...], Conversation], Example] = {}
    for example in (*data.train, *data.validation):
        other = first.setdefault((example.chunks, example.conversation), example)
        if (other.label, other.benign) != (example.label, example.benign):
            raise DataError(
                f"{task}: examples {other.id} and {example.id} have the same prompt, but another "
                f"{'label' if data.labels else 'value for `benign`'}; leave out one of them"
            )
    train, validation = _distinct(data.train), _distinct(data.validation)
    dropped = len(data.train) + len(data.validation) - len(train) - len(validation)
    if not dropped:
        return data
    count = int(data.source.get("dropped, copies", 0)) + dropped
    return replace(data, train=train, validation=validation, source=data.source | {"dropped, copies": str(count)})


_all_but_id = attrgetter(*(field.name for field in fields(Example) if field.name != "id"))


def _distinct(examples: Sequence[Example]) -> list[Example]:
    found: dict[tuple[object, ...], Example] = {}
    for example in examples:
        found.setdefault(_all_but_id(example), example)
    return list(found.values())


def _wrong_label(example: Example, data: TaskData) -> str:
    """What is wrong with an example of a task with labels, or nothing."""
    if 0 <= example.label < len(data.labels) and NO_LABEL <= example.proxy_label < len(data.labels):
        return ""
    return (
        f"label {example.label} or proxy_label {example.proxy_label} is not one of the {len(data.labels)} labels; "
        "they are counted from 0"
    )


def _wrong_answer(example: Example, _: TaskData) -> str:
    """What is wrong with an example that is answered in text, or nothing."""
    if not any(message.content.strip() for message in example.messages):
        return "the prompt is empty; leave the example out"
    if (example.label, example.proxy_label) != (NO_LABEL, NO_LABEL):
        return (
            f"label {example.label} and proxy_label {example.proxy_label}, but the task has no labels; leave both out, "
            "or give TaskData its labels"
        )
    if not example.target.strip():
        return "no target; give it the beginning of the answer that the attacker wants, such as ' Sure, here'"
    return ""
