"""What a run says while it goes on: an interface, so that the runner knows nothing of terminals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from harness.api.model.shape import Memory
from harness.flops import Flops
from harness.records.exclusion import CleanMeasure


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is left to do.

    Attributes:
        flops, seconds: estimated nominal FLOPs and time of the stages that can be estimated.
        stages: how many there are.
        unknown: how many of them have unknown FLOPs.
        untimed: how many take an unknown time: those, and what another machine computes.
        memory: the most that all processes take together; None where that is unknown.
        expected: what each stage is called when it begins, and how many seconds it takes by itself; None where unknown.
        workers: that share the stages.
    """

    flops: float
    seconds: float
    stages: int = 0
    unknown: int = 0
    untimed: int = 0
    memory: Memory | None = None
    expected: Mapping[str, float | None] = field(default_factory=dict)
    workers: int = 1


@dataclass(frozen=True, slots=True)
class CellProgress:
    """Where the cell in hand stands.

    Attributes:
        steps, steps_total: example-steps done and to do.
        asr: attack success rate so far, 0 to 1; None where there is no verdict yet.
        spent: attack compute so far; NaN where unknown.
        asked: strings that the victim was asked about.
        untold: of them, those without an answer, or with one that could not be judged.
    """

    steps: int
    steps_total: int
    asr: float | None
    spent: Flops
    asked: int = 0
    untold: int = 0


@dataclass(frozen=True, slots=True)
class CellEnd:
    """What a cell came to.

    Attributes:
        label: of the cell.
        asr, clean: attack success rate and the share of clean prompts that are right, 0 to 1; None where there are
            none.
        error: why it failed; None where it did not.
        untold: which of its answers have no verdict, in words; "" for none.
        clean_measure: what the share of clean prompts is called.
        answered: how many prompts ended as the attacker wants with an attack or without one, in words; "" where that
            does not matter.
    """

    label: str
    asr: float | None = None
    clean: float | None = None
    error: str | None = None
    untold: str = ""
    answered: str = ""
    clean_measure: CleanMeasure = "clean accuracy"


class WorkReporter(Protocol):
    """What a worker tells of its work."""

    def stage(self, what: str) -> None:
        """A new piece of work, e.g. ``prepare tiny 26k on word_length, seed 0``."""

    def note(self, what: str) -> None:
        """Something to know of that stops nothing, in a line of its own."""

    def progress(self, what: str, done: float, total: float) -> None:
        """How far a piece of work has come."""

    def cell(self, progress: CellProgress) -> None:
        """How far the attack on a cell has come."""

    def cell_done(self, end: CellEnd) -> None:
        """A cell ended."""


class Reporter(Protocol):
    """Told of everything that happens in a run."""

    def begin(self, cells: int, already_done: int, forecast: Forecast | None) -> None:
        """The run starts."""

    def worker(self, index: int) -> WorkReporter:
        """The reporter of worker ``index`` (0, 1, …)."""


class Silent:
    """Says nothing; serves as both sorts of reporter."""

    def begin(self, cells: int, already_done: int, forecast: Forecast | None) -> None: ...
    def worker(self, index: int) -> WorkReporter:
        return self

    def stage(self, what: str) -> None: ...
    def note(self, what: str) -> None: ...
    def progress(self, what: str, done: float, total: float) -> None: ...
    def cell(self, progress: CellProgress) -> None: ...
    def cell_done(self, end: CellEnd) -> None: ...
