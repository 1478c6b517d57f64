"""Which attack strings are put back through the victim: drawn by the hash of the file and a seed of the reader's, the
same number in each row of the standings.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.records.read import Cell, Run
from harness.records.step_row import StepRow
from leaderboard.submission.verification_record import RowKey, RowReplay, row_key

if TYPE_CHECKING:
    from harness.replay.recorded import RecordedCell


@dataclass(frozen=True)
class Sample:
    """What is asked again of a submission.

    Attributes:
        cells: those of which something was drawn.
        rows: of the standings, those that they stand in, and how much of each was drawn.
        strings: how many strings were drawn, and ``recorded_strings``: of how many that attacks on texts left.
        all_cells: how many cells those attacks have.
    """

    cells: Sequence[RecordedCell]
    rows: Sequence[RowReplay]
    strings: int
    recorded_strings: int
    all_cells: int


def draw_sample(run: Run, spec_cells: Mapping[str, Any], count: int, file_sha256: str, seed: int) -> Sample:
    """``count`` strings of each row of the standings, each equally likely, those that failed without a verdict
    included, and the clean prompts of the cells that they are of; where these are fewer than ``count``, of other cells
    of the row as well. What has fewer is asked whole.

    Attacks that change activations leave no string: of their cells the clean prompts alone are drawn.

    Args:
        spec_cells: the cell of the spec that each record is of, by key.
    """
    cells_of_row: dict[RowKey, list[Cell]] = {}
    for cell in run.cells:
        cells_of_row.setdefault(row_key(cell.record), []).append(cell)
    drawn: list[RecordedCell] = []
    rows: list[RowReplay] = []
    for key, cells in cells_of_row.items():
        rng = random.Random(hashlib.sha256(f"{file_sha256}/{seed}/{key}".encode()).digest())
        of_row = _draw_of_row(cells, spec_cells, count, rng)
        drawn += of_row
        rows.append(_row_replay(key, cells, of_row))
    return Sample(
        cells=drawn,
        rows=rows,
        strings=sum(len(cell.steps) for cell in drawn),
        recorded_strings=sum(_count_strings(cell) for cell in run.cells),
        all_cells=len(run.cells),
    )


def _count_strings(cell: Cell) -> int:
    """Strings that can be put back: what changes activations leaves none."""
    return len(cell.steps(["step"])) if cell.record.space == "text" else 0


def _row_replay(key: RowKey, cells: Sequence[Cell], drawn: Sequence[RecordedCell]) -> RowReplay:
    space, task, threat, victim, defense, round_ = key
    return RowReplay(
        space=space,
        task=task,
        threat=threat,
        victim=victim,
        defense=defense,
        round=round_,
        strings=sum(len(cell.steps) for cell in drawn),
        recorded=sum(map(_count_strings, cells)),
        cells=len(drawn),
        recorded_cells=len(cells),
    )


def _draw_of_row(
    cells: Sequence[Cell], spec_cells: Mapping[str, Any], count: int, rng: random.Random
) -> list[RecordedCell]:
    from harness.replay.recorded import RecordedCell

    sizes = [_count_strings(cell) for cell in cells]
    total = sum(sizes)
    sample = sorted(rng.sample(range(total), min(count, total)))
    rows_of_cell: list[list[int]] = []
    first = 0
    for size in sizes:
        rows_of_cell.append([index - first for index in sample if first <= index < first + size])
        first += size
    without_string = [place for place, rows in enumerate(rows_of_cell) if not rows]
    missing = max(0, min(count, len(cells)) - (len(cells) - len(without_string)))
    also = set(rng.sample(without_string, missing))
    return [
        RecordedCell(
            spec=spec_cells[cell.record.key],
            record=cell.record,
            examples=cell.examples().to_pylist(),
            steps=[StepRow.from_record(row) for row in cell.steps().take(rows).to_pylist()] if rows else [],
        )
        for place, (cell, rows) in enumerate(zip(cells, rows_of_cell, strict=True))
        if rows or place in also
    ]
