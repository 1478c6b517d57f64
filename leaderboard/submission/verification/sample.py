"""Which attack strings are put back through the victim: drawn by the hash of the file and a seed of the reader's."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from harness.records.read import Cell, Run

if TYPE_CHECKING:
    from harness.replay.replay import Recorded

_COLUMNS = ["example", "step", "attack_text", "success", "predicted", "answer", "loss", "judge_nominal"]


def sample_steps(run: Run, count: int, file_sha256: str, seed: int) -> list[Recorded]:
    """``count`` steps of all cells, each equally likely, fewer where there are not so many; by cell.

    Steps that could not be judged are left out, and those of attacks that change activations, which no record holds.
    """
    cells = [cell for cell in run.cells if cell.record.space == "text"]
    sizes = [_judged_steps(cell, []).num_rows for cell in cells]
    total = sum(sizes)
    rng = random.Random(hashlib.sha256(f"{file_sha256}/{seed}".encode()).digest())
    sample = sorted(rng.sample(range(total), min(count, total)))
    steps, first = [], 0
    for cell, size in zip(cells, sizes, strict=True):
        rows = [index - first for index in sample if first <= index < first + size]
        first += size
        if rows:
            steps += _recorded_steps(cell, rows)
    return steps


def _recorded_steps(cell: Cell, rows: list[int]) -> list[Recorded]:
    from harness.replay.replay import Recorded

    clean = {row["example"]: row for row in cell.examples(["example", "predicted", "answer"]).to_pylist()}
    steps: list[dict[str, Any]] = _judged_steps(cell, _COLUMNS).select(_COLUMNS).take(rows).to_pylist()
    return [
        Recorded(
            record=cell.record,
            **step,
            clean_predicted=clean[step["example"]]["predicted"],
            clean_answer=clean[step["example"]]["answer"],
        )
        for step in steps
    ]


def _judged_steps(cell: Cell, columns: list[str]) -> pa.Table:
    steps = cell.steps(sorted({"failure", "attack_text", *columns}))
    return steps.filter(pc.and_(pc.is_null(steps["failure"]), pc.is_valid(steps["attack_text"])))
