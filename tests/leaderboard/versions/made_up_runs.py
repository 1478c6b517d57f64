"""Two runs of one spec with made-up outcomes, in the true record format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.records.read import Run, read_run
from harness.records.schema import EXAMPLES
from tests.leaderboard.fake_run import FakeCell, write_run

CELL = FakeCell(victim="model(v1)", attack="gcg", steps=4, examples=40, wrong=2)
NEW = "model(v2)"
AS_IT_CAME: dict[str, Any] = {
    "victim_facts": {
        "family": "llama",
        "n_params": 100_000,
        "n_params_non_embedding": 50_000,
        "pretraining_flops": None,
        "preparation": {"nominal": 0.0, "executed": 0.0},
        "reference_flops": None,
        "artifact": "b" * 32,
    }
}
"""Of the manifest of a model that nobody trains here."""


def first_steps(broken: int, of: int) -> list[int]:
    """The first so many examples fall, at steps 1, 2, 3, 4, 1, …"""
    return [1 + at % 4 if at < broken else 0 for at in range(of)]


def cells(broken: int, of: int = 40, seeds: Sequence[int] = (0,), **changes: Any) -> list[FakeCell]:
    """One attack on one version."""
    made = replace(CELL, examples=of, first_success=first_steps(broken, of), **changes)
    return [replace(made, seed=seed) for seed in seeds]


def runs(folder: Path, old: Sequence[FakeCell], new: Sequence[FakeCell]) -> tuple[Run, Run]:
    """Both, written and read."""
    was, now = (read_run(write_run(folder / name, made)) for name, made in (("old", old), ("new", new)))
    return was, now


def add_examples(run: Path, rows: Sequence[dict[str, Any]], **columns: Any) -> None:
    """Further rows in the table of examples of every cell; ``columns`` for all rows that are there."""
    for table in (run / "cells").glob("*/examples.parquet"):
        found = [row | columns for row in pq.read_table(table).to_pylist()]
        pq.write_table(pa.Table.from_pylist([*found, *rows], EXAMPLES), table)
