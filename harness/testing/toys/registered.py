"""Toys as plugins that a spec can name: what a task or a judge under test is run with. A plugin file of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.api.attack import Attack, Step
from harness.api.hooks import hookimpl
from harness.api.judge import Judge
from harness.api.model.backend import Backend
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import Generate
from harness.api.task import Task, TaskData, TaskKind
from harness.api.threat import Access
from harness.api.victim import PrepareJob, Victim, VictimCard
from harness.flops import Flops
from harness.testing.toys.examples import toy_model
from harness.testing.toys.plugins import ToyJudge
from harness.testing.toys.task_data import toy_task_data
from harness.testing.toys.tokenizers import CHAT, tokenizer_of
from harness.training.training_rows import render

TOYS, ASKED = 20, 24  # random toys that are tried, and prompts that each is asked


class KitLabels(Task):
    """The kit's toy task of labels."""

    name = "kit_labels"

    def load(self) -> TaskData:
        """Sentences: is the animal red?"""
        return toy_task_data("labels")


class KitText(Task):
    """The kit's toy task of answers in text."""

    name = "kit_text"
    answers: ClassVar[TaskKind] = "text"

    def load(self) -> TaskData:
        """Sentences: what colour is it?"""
        return toy_task_data("text")


class KitVictim(Victim):
    """The kit's toy model."""

    name = "kit_victim"

    def card(self, data: TaskData) -> VictimCard:
        """Facts of the toy."""
        return VictimCard("kit", self._backend(0, data).n_params, None, "scores", 1024, language_model=not data.labels)

    def estimate(self, data: TaskData) -> float:
        """One FLOP, so that each seed has a model of its own."""
        return 1.0

    def prepare(self, job: PrepareJob) -> Flops:
        """Write down which of some random toys gets most prompts right, so that some can be attacked."""
        seeds = range(job.seed, job.seed + TOYS)
        chosen = max(seeds, key=lambda seed: self._right(seed, job.data)) if job.data.labels else job.seed
        (job.folder / "config.json").write_text(json.dumps({"seed": chosen}), encoding="utf-8")
        return Flops(1.0, 1.0)

    def _right(self, seed: int, data: TaskData) -> int:
        backend, examples = self._backend(seed, data), list(data.validation[:ASKED])
        rows = [render(example.text, backend.tokenizer) for example in examples]
        logits, _ = backend.classify([np.asarray(row, dtype=np.int64) for row in rows])
        return int((np.argmax(logits, axis=1) == [example.label for example in examples]).sum())

    def open(self, folder: Path, data: TaskData) -> Backend:
        """The toy of that seed."""
        return self._backend(json.loads((folder / "config.json").read_text(encoding="utf-8"))["seed"], data)

    def _backend(self, seed: int, data: TaskData) -> Backend:
        tokenizer = tokenizer_of("byte_bpe")
        tokenizer = tokenizer if data.plain else tokenizer.with_chat(CHAT)
        backend: Backend = toy_model(tokenizer, len(data.labels), seed)
        return backend

    def takes_messages(self, data: TaskData) -> bool:
        """Yes, by a template of its own."""
        return not data.plain


class KitAttack(Attack):
    """Random strings, one per step, about which the victim is asked once."""

    name = "kit_attack"
    access: ClassVar[Access] = "text"

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        """A random string."""
        return problem.state(problem.random_tokens(rng))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        """Another."""
        tokens = problem.random_tokens(rng)
        yield Generate((problem.prompts(tokens[None])[0],), max_tokens=4)
        return problem.state(tokens)


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """The toy tasks."""
    register(KitLabels)
    register(KitText)


@hookimpl
def harness_register_victims(register: Callable[[type[Victim]], None]) -> None:
    """The toy model."""
    register(KitVictim)


@hookimpl
def harness_register_attacks(register: Callable[[type[Any]], None]) -> None:
    """The random attack."""
    register(KitAttack)


@hookimpl
def harness_register_judges(register: Callable[[type[Judge]], None]) -> None:
    """The toy judge, of labels and of texts."""
    register(ToyJudge)
    register(KitTextJudge)


class KitTextJudge(ToyJudge):
    """The toy judge of answers in text."""

    name = "kit_text_judge"
    reads: ClassVar[TaskKind] = "text"
