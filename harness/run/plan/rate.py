"""How fast this machine computes: as measured in a run, or guessed before there is one."""

from __future__ import annotations

import time
from contextlib import suppress

import numpy as np

from harness.errors import DataError
from harness.records.read import read_run
from harness.run.run_folder import RunFolder

_GUESSED_SHARE = 0.2  # of the rate of matrix products, reached by models of this size


def known_rate(folder: RunFolder | None) -> tuple[float, str] | None:
    """Nominal FLOP/s over the cells of this run that were computed here, if there are any."""
    if folder is None or not folder.manifest.exists():
        return None
    flops = seconds = 0.0
    count = 0
    with suppress(DataError):  # a damaged record is the run's affair; what is whole will do here
        for cell in read_run(folder.root):
            table = cell.steps(["attack_nominal", "judge_nominal", "attack_executed", "seconds"])
            if any(column.null_count for column in table.columns):
                continue  # of a model behind a URL
            steps = table.to_pydict()
            flops += sum(steps["attack_nominal"]) + sum(steps["judge_nominal"])
            seconds += sum(steps["seconds"])
            count += 1
    return (flops / seconds, f"measured over {count} cells of this run") if seconds else None


def guessed_rate() -> float:
    """A share of what a square matrix product reaches here, in FLOP/s."""
    size = 768
    a = np.ones((size, size), dtype=np.float32)
    a @ a  # the first call starts threads
    began = time.perf_counter()
    for _ in range(5):
        a @ a
    return _GUESSED_SHARE * 5 * 2 * size**3 / (time.perf_counter() - began)
