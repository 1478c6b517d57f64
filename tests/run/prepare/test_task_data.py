"""What a task may give a run: checked once, before anything is spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.api.task import Chunk, Edit, Example, Task, TaskData
from harness.errors import DataError
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.run.prepare.task_data import TaskDataCache

LABELLED = Example("a", (Chunk("Hot?", Edit.PERTURBABLE),), 0, 1)
ANSWERED = Example("a", (Chunk("How?", Edit.PERTURBABLE),), target=" Sure")


def data_of(data: Any, answers: Any) -> TaskData:
    """What a run makes of a task with this data."""

    class Given(Task):
        """Given data."""

        name = "given"

        def load(self) -> TaskData:
            return data() if callable(data) else data

    Given.answers = answers
    return TaskDataCache().data(ResolvedPlugin("task", "given", Given(), "here", "1"))


def labelled(change: Callable[[TaskData], TaskData] = lambda data: data) -> TaskData:
    return change(TaskData((" NO", " YES"), [LABELLED], [LABELLED]))


def answered(change: Callable[[TaskData], TaskData] = lambda data: data) -> TaskData:
    return change(TaskData((), [ANSWERED], [ANSWERED]))


def test_good_data_pass_and_prompts_need_no_training_rows() -> None:
    assert data_of(labelled(), "labels").kind == "labels"
    assert data_of(answered(), "text").kind == "text"
    assert data_of(answered(lambda data: replace(data, train=[])), "text").train == []


def validation(example: Example, **changes: Any) -> Callable[[TaskData], TaskData]:
    return lambda data: replace(data, validation=[replace(example, **changes)])


@pytest.mark.parametrize(
    ("data", "answers", "message"),
    [
        (labelled(lambda d: replace(d, train=[])), "labels", "the train split is empty"),
        (labelled(lambda d: replace(d, validation=[])), "labels", "the validation split is empty"),
        (answered(lambda d: replace(d, validation=[])), "text", "the validation split is empty"),
        (answered(lambda d: replace(d, train=[ANSWERED] * 2)), "text", "two examples with one id"),
        (
            labelled(validation(LABELLED, label=2)),
            "labels",
            "example a: label 2 or proxy_label 1 is not one of the 2 labels",
        ),
        (labelled(validation(ANSWERED)), "labels", "example a: label -1 or proxy_label -1 is not one of the 2 labels"),
        (answered(validation(LABELLED)), "text", "example a: label 0 and proxy_label 1, but the task has no labels"),
        (
            answered(validation(ANSWERED, target=" ")),
            "text",
            "example a: no target; give it the beginning of the answer",
        ),
        (
            answered(validation(ANSWERED, chunks=(Chunk(" ", Edit.PERTURBABLE),))),
            "text",
            "example a: the prompt is empty; leave the example out",
        ),
        (answered(lambda d: replace(d, answer_tokens=0)), "text", "answer_tokens is 0"),
        (labelled(), "text", "its `answers` is 'text', and its data have 2 labels; write answers = 'labels'"),
        (answered(), "labels", "its `answers` is 'labels', and its data have 0 labels; write answers = 'text'"),
    ],
)
def test_bad_data_are_one_error_that_names_the_task(data: TaskData, answers: str, message: str) -> None:
    with pytest.raises(DataError, match="task given: ") as caught:
        data_of(data, answers)
    assert message in str(caught.value)


def test_what_load_raises_or_returns_is_told_with_the_task() -> None:
    with pytest.raises(DataError, match=r"task given \(here\): TypeError: load\(\) returned int, not TaskData"):
        data_of(3, "labels")

    def broken() -> TaskData:
        raise ZeroDivisionError("none")

    with pytest.raises(DataError, match=r"task given \(here\): ZeroDivisionError: none"):
        data_of(broken, "labels")


def prompt(name: str, text: str, label: int = 0, proxy: int = 1) -> Example:
    return Example(name, (Chunk(text, Edit.PERTURBABLE),), label, proxy)


def test_copies_are_dropped_from_any_task_and_counted() -> None:
    rows = [prompt("a", "x"), prompt("b", "x"), prompt("c", "y", 1, 0), prompt("d", "x")]
    data = data_of(TaskData((" NO", " YES"), rows, rows[2:], {"dropped, copies": "2", "file": "f"}), "labels")
    assert [example.id for example in data.train] == ["a", "c"]
    assert [example.id for example in data.validation] == ["c", "d"]
    assert data.changes == ("dropped, copies: 4",)
    assert data.source["file"] == "f"


def test_data_without_copies_stay_as_they_are() -> None:
    given = TaskData((" A", " B", " C"), [prompt("a", "x", 0, 1), prompt("b", "x", 0, 2)], [prompt("c", "y")])
    assert data_of(given, "labels") is given  # another label that the attacker wants is another example
    assert given.changes == ()


@pytest.mark.parametrize("other", ["train", "validation"])
def test_contradictions_are_refused_with_both_examples(other: str) -> None:
    one, two = prompt("one", "x"), prompt("two", "x", 1, 0)
    splits = {"train": [one], "validation": [prompt("v", "y")]}
    splits[other] = [*splits[other], two]
    with pytest.raises(DataError, match="examples one and two have the same prompt, but another label; leave out one"):
        data_of(TaskData((" NO", " YES"), **splits), "labels")
    harmful = replace(ANSWERED, id="harmful")
    with pytest.raises(DataError, match="harmful and benign have the same prompt, but another value for `benign`"):
        data_of(TaskData((), [], [harmful, replace(harmful, id="benign", benign=True)]), "text")


@pytest.mark.parametrize(
    "change", [{"chunks": (Chunk("\udc00", Edit.PERTURBABLE),)}, {"target": "\ud800"}, {"reply": "\udfff"}]
)
def test_half_a_character_is_refused_with_the_example(change: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="example a: it holds half of a surrogate pair"):
        data_of(answered(validation(ANSWERED, **change)), "text")
