"""Tiny victims, trained once per test session and shared by its workers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from harness.api.task import Example, TaskData
from harness.api.threat import Threat
from harness.api.victim import PrepareJob
from harness.flops import Flops
from harness.hashing import content_key

INSTRUCTIONS = {"word_length": "Which word is longer?", "password_match": "Same password?"}


def silent(_what: str, _done: float, _total: float) -> None:
    """No progress wanted."""


@dataclass(frozen=True)
class Trained:
    """A tiny victim on disk, and what it learnt from."""

    plugin: Any  # Tiny; not named here, so that tests without a model need not import torch
    data: TaskData
    folder: Path
    spent: Flops

    def open(self) -> Any:
        """A backend of its own for each caller."""
        return self.plugin.open(self.folder, self.data)

    def correct(self, backend: Any, examples: list[Example]) -> list[Example]:
        """Those that the victim gets right."""
        rows = [np.asarray(ids) for ids in backend.tokenizer.encode([example.text for example in examples])]
        answers = backend.classify(rows)[0].argmax(axis=1)
        return [example for example, answer in zip(examples, answers, strict=True) if answer == example.label]

    def problems(self, backend: Any, count: int, threat: Threat | None = None) -> list[Any]:
        """The first ``count`` validation examples that the victim gets right, ready to be attacked."""
        from harness.api.problem.placement import allowed_tokens, place

        allowed = allowed_tokens(backend.tokenizer)
        examples = self.correct(backend, list(self.data.validation[: 2 * count]))[:count]
        return [place(example, threat or Threat(), backend.tokenizer, allowed) for example in examples]


@cache
def task_data(name: str) -> TaskData:
    """The small version of a synthetic task: open syllables, 4 to 8 letters, short instructions."""
    from plugins.tasks.password_match import PasswordMatch
    from plugins.tasks.word_length import WordLength

    task = {"word_length": WordLength, "password_match": PasswordMatch}[name]
    params = task.Params(
        instructions=INSTRUCTIONS[name], syllables="open", min_letters=4, max_letters=8, validation_size=1000
    )
    return task(params).load()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trained]:
    """``trained(task, size, seed=0, **parameters of tiny)``; 500 steps unless told otherwise (10 to 20 s for 26k)."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny-victims"

    def train(task: str, size: str, seed: int = 0, **params: Any) -> Trained:
        import torch

        from plugins.victims.tiny import Tiny

        torch.set_num_threads(1)  # at these sizes threads cost more than they bring
        data, plugin = task_data(task), Tiny(Tiny.Params(size=size, **({"steps": 500} | params)))
        folder = shared / content_key([task, plugin.params.model_dump(mode="json"), seed])
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # one worker trains, the others wait for it
            if not (folder / "spent.json").exists():
                spent = plugin.prepare(PrepareJob(data, seed, folder, folder / "scratch", silent))
                (folder / "spent.json").write_text(json.dumps(spent.to_json()))
        return Trained(plugin, data, folder, Flops.from_json(json.loads((folder / "spent.json").read_text())))

    return train
