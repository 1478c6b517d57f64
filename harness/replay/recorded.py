"""What the records of others say, and what is found when it is asked again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.records.cell_manifest import CellRecord
from harness.records.step_row import StepRow
from harness.spec.cells import CellSpec


@dataclass(frozen=True)
class RecordedCell:
    """A cell of which some strings, and all clean prompts, are to be asked again.

    Attributes:
        spec: the cell of the reader's spec that the record is of.
        examples: all rows of its table of examples, by column.
        steps: the rows of the strings.
    """

    spec: CellSpec
    record: CellRecord
    examples: Sequence[dict[str, Any]]
    steps: Sequence[StepRow]


@dataclass(frozen=True)
class ReplayedString:
    """What came of a string this time.

    Attributes:
        problem: what is otherwise than recorded; "" where nothing is.
        close: the verdict is another, but the victim is undecided between two labels: no problem.
        drawn: of answers that are drawn, how many were judged this time, and how many of them are a success; None
            where answers are not drawn, or nothing was judged.
        loss_difference: between recorded and found; None where either is unknown.
    """

    record: CellRecord
    recorded: StepRow
    problem: str = ""
    close: bool = False
    loss_difference: float | None = None
    drawn: tuple[int, int] | None = None


@dataclass(frozen=True)
class ReplayedCell:
    """What came of a cell this time.

    Attributes:
        strings: one per recorded step that was asked for.
        problems: what is otherwise with its clean prompts, counts and facts, or why it cannot be replayed at all.
        clean_prompts: how many were asked.
        undecided: how many clean prompts the victim is undecided about, so that another answer is no problem.
    """

    record: CellRecord
    strings: Sequence[ReplayedString] = ()
    problems: Sequence[str] = ()
    clean_prompts: int = 0
    undecided: int = 0
