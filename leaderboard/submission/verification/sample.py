"""Which attack strings are put back through the victim: drawn by the hash of the file and a seed of the reader's."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from harness.records.cell import CellRecord
from harness.records.read import Cell, Run

_COLUMNS = ["example", "step", "attack_text", "success", "predicted", "answer", "loss", "judge_nominal", "failure"]


@dataclass(frozen=True)
class Drawn:
    """A step of a cell, and the answer to its example when clean.

    Attributes:
        step: its row: the columns of `harness.records.schema.STEPS` that say what came of it.
    """

    record: CellRecord
    step: dict[str, object]
    clean: dict[str, object]


def draw(run: Run, count: int, file_hash: str, seed: int) -> list[Drawn]:
    """``count`` steps of all cells, each equally likely, fewer where there are not so many; by cell.

    Steps that could not be judged are left out, and those of attacks that change activations, which no record holds.
    """
    cells = [cell for cell in run.cells if cell.record.space == "text"]
    sizes = [_judged(cell, ["failure", "attack_text"]).num_rows for cell in cells]
    total = sum(sizes)
    by = random.Random(hashlib.sha256(f"{file_hash}/{seed}".encode()).digest())
    chosen = sorted(by.sample(range(total), min(count, total)))
    found, first = [], 0
    for cell, size in zip(cells, sizes, strict=True):
        own = [at - first for at in chosen if first <= at < first + size]
        first += size
        if own:
            clean = {row["example"]: row for row in cell.examples(["example", "predicted", "answer"]).to_pylist()}
            steps = _judged(cell, _COLUMNS).take(own).to_pylist()
            found += [Drawn(cell.record, step, clean[step["example"]]) for step in steps]
    return found


def _judged(cell: Cell, columns: list[str]) -> pa.Table:
    steps = cell.steps(columns)
    return steps.filter(pc.and_(pc.is_null(steps["failure"]), pc.is_valid(steps["attack_text"])))
