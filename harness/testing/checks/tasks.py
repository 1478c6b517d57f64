"""What a task promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

from harness.api.problem.placement import allowed_tokens, place
from harness.api.task import NO_LABEL, TaskData
from harness.isolation.process_state import global_seed
from harness.run.prepare.task_data import TaskDataCache
from harness.testing.plugin_under_test import Subject
from harness.testing.results import Check, NotApplicableError, UnmetError
from harness.testing.toys.backend import toy_tokenizer
from harness.testing.toys.examples import toy_threat
from harness.testing.toys.tokenizers import CHAT

EXAMPLES_PLACED = 50  # of each split

_HASH = """
import importlib, json, sys
from harness.testing.checks.tasks import load_anew
from harness.testing.plugin_under_test import subject_of
module, name, params = sys.argv[1:]
cls = importlib.import_module(module)
for part in name.split("."):
    cls = getattr(cls, part)
print(load_anew(subject_of(cls, json.loads(params))).hash)
"""


def load_anew(subject: Subject) -> TaskData:
    """The task's data, loaded again and checked as a run does. Raises DataError."""
    return TaskDataCache().data(subject.chosen())


def task_data(subject: Subject) -> TaskData:
    """The task's data, loaded once. Raises DataError."""
    if "data" not in subject.kept:
        subject.kept["data"] = load_anew(subject)
    data: TaskData = subject.kept["data"]
    return data


def _check_loads(subject: Subject) -> None:
    loaded = len(task_data(subject).validation)
    stated = subject.fresh().validation_count()
    if stated not in (None, loaded):
        raise UnmetError(
            f"validation_count() is {loaded}, as loaded, or None",
            str(stated),
            "return None where the data must be read",
        )


def _check_same_data(subject: Subject) -> None:
    with global_seed(0):
        first = load_anew(subject).hash
    with global_seed(1):
        second = load_anew(subject).hash
    _expect_equal_hashes(
        first, second, "loading twice", "draw from random.Random('a name') or harness.named_rng, not from random"
    )


def _check_same_elsewhere(subject: Subject) -> None:
    cls = subject.cls
    if cls.__module__.startswith("harness_file_") or "<locals>" in cls.__qualname__ or cls.__module__ == "__main__":
        raise NotApplicableError("the class cannot be imported by another process")
    command = [sys.executable, "-c", _HASH, cls.__module__, cls.__qualname__, json.dumps(subject.params, default=str)]
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise UnmetError("data that another process can load", last, "load nothing that only this process has")
    mend = "a set has another order in each process: sort it, or keep a list; do not use hash() of a text"
    _expect_equal_hashes(task_data(subject).hash, done.stdout.split()[-1], "loading in two processes", mend)


def _expect_equal_hashes(one: str, other: str, when: str, mend: str) -> None:
    if one != other:
        raise UnmetError(f"the same data hash when {when}", f"{one[:12]} and {other[:12]}", mend)


def _check_disjoint(subject: Subject) -> None:
    data = task_data(subject)
    seen = {example.messages: example.id for example in data.train}
    shared = [(seen[example.messages], example.id) for example in data.validation if example.messages in seen]
    if shared:
        raise UnmetError(
            "no prompt in both splits",
            f"{len(shared)} are, such as {shared[0][0]} and {shared[0][1]}",
            "split the rows before making prompts of them, or leave out of train what validation has",
        )


def _check_distinct(subject: Subject) -> None:
    whole, kept = subject.fresh().load(), task_data(subject)
    for name, one, other in (("train", whole.train, kept.train), ("validation", whole.validation, kept.validation)):
        copies = {example.id for example in one} - {example.id for example in other}
        if copies:
            raise UnmetError(
                "examples that differ in more than their id",
                f"{len(copies)} {name} examples are copies of others, such as {min(copies)}",
                "leave copies out before examples are numbered and capped: a run drops them",
            )


def _check_labels(subject: Subject) -> None:
    data = task_data(subject)
    if not data.labels:
        raise NotApplicableError("it is answered in text")
    bad = [label for label in data.labels if not (label.startswith(" ") and label.strip())]
    if bad or len(set(data.labels)) < len(data.labels):
        raise UnmetError(
            "different labels, each with the space with which a language model would say it",
            repr(data.labels),
            f"write {tuple(' ' + label.strip() for label in data.labels)}",
        )
    for name, split in (("train", data.train), ("validation", data.validation)):
        counts = Counter(example.label for example in split)
        missing = [data.labels[label] for label in range(len(data.labels)) if not counts[label]]
        if missing:
            raise UnmetError(
                "every label in both splits", f"no {name} example with {missing[0]!r}", "draw rows of every label"
            )


def _check_placed(subject: Subject) -> None:
    data, plain = task_data(subject), toy_tokenizer()
    tokenizer = plain if data.plain else plain.with_chat(CHAT)
    allowed = allowed_tokens(tokenizer)
    for position in ("prefix", "suffix"):
        for example in (*data.train[:EXAMPLES_PLACED], *data.validation[:EXAMPLES_PLACED]):
            problem = place(
                example, toy_threat("gradient", position=position, tokens=4), tokenizer, allowed, data.labels
            )
            _expect_place(problem, example, data)


def _expect_place(problem: Any, example: Any, data: TaskData) -> None:
    for text in (chunk.text for chunk in example.chunks if chunk.edit.value == "immutable"):
        if text not in problem.prompt(" x"):
            raise UnmetError("a place for an attack string", f"{example.id} loses {text!r}", "report it")
    (before,) = problem.tokenizer.decode([problem.before])
    missing = [message.content for message in example.conversation.before if message.content not in before]
    if missing:
        raise UnmetError("every message before the string", f"{example.id} loses {missing[0]!r}", "report it")
    targeted = data.labels and example.proxy_label != NO_LABEL
    if targeted and problem.wanted != data.labels[example.proxy_label]:
        raise UnmetError("a proxy label that the attacker wants", problem.wanted, "set proxy_label")
    if not data.labels and not problem.target:
        raise UnmetError("a target of at least one token", repr(example.target), "begin it with a space: ' Sure, here'")


def _check_sliceable(subject: Subject) -> None:
    data = task_data(subject)
    for split in (data.train, data.validation):
        if list(split[:3]) != list(split)[:3]:
            raise UnmetError("splits that can be sliced", type(split).__name__, "return lists or tuples")


CHECKS = (
    Check("loads", "load() gives proper data", _check_loads),
    Check("same_data", "loading twice gives the same data", _check_same_data),
    Check("same_elsewhere", "another process loads the same data", _check_same_elsewhere),
    Check("disjoint", "no prompt is in both splits", _check_disjoint),
    Check("distinct", "no example appears twice", _check_distinct),
    Check("labels", "labels are different, begin with a space, and occur in both splits", _check_labels),
    Check("placed", "an attack string has a place in every prompt", _check_placed),
    Check("sliceable", "splits are sequences", _check_sliceable),
)
