#!/usr/bin/env python3
"""Where the time of scoring goes, by sort of operation, for rows of the scoring table, and what share of the peak the
matrix products would reach by themselves.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch.profiler import profile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import ours, table
from tests.benchmarks.rows import ROWS, Row

PARTS = {
    "matrix products": {"addmm", "mm"},
    "attention": {"_scaled_dot_product_flash_attention_for_cpu", "bmm", "baddbmm", "lerp_", "exp_", "amax", "sum"},
    "activations and norms": {"gelu", "silu", "native_layer_norm", "pow", "mean", "rsqrt"},
    "copies": {"copy_", "cat", "index_select", "index_copy_", "fill_"},
    "sums and products by element": {"add", "add_", "mul", "mul_", "neg", "sub", "sub_"},
    "softmax of the logits": {"_log_softmax", "nll_loss_forward"},
}
REST = "Python, views and the rest"
MARK = "time_by_operation.py"
SCORED = tuple(row.id for row in ROWS if row.kind == "score" and not row.busy)
DEFAULT = ("21m-512", "1.7m-512", "1.7m-fused", "smollm2", "smollm2-best")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", default=",".join(DEFAULT), metavar="ID[,ID]", help=f"of {', '.join(SCORED)}")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is taken (default %(default)s)")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page, between its markers")
    given = parser.parse_args()
    named = given.rows.split(",")
    if unknown := [name for name in named if name not in SCORED]:
        parser.error(f"--rows: {', '.join(unknown)} is not one of {', '.join(SCORED)}")
    with tempfile.TemporaryDirectory(prefix="time-by-operation-") as folder:
        found = []
        for row in ROWS:
            if row.id in named:
                found.append(shares(row, Path(folder) / row.model, given.rounds))
                print(f"{row.id}: {found[-1]}", file=sys.stderr, flush=True)
    rows = [row for row in ROWS if row.id in named]
    text = markdown(rows, found)
    print(text)
    if given.write:
        table.write(given.write, text, MARK)
    return 0


def shares(row: Row, folder: Path, rounds: int) -> dict[str, float]:
    """Seconds of one request, the share of each part in them, and shares of the peak: of all, and of the products."""
    if not folder.exists():
        ours.write(row.model, str(folder), str(folder.parent / "victims"))
    ask = partial(ours.score, str(folder), "packed_reuse", row.shape or {}, losses=False, best=row.best)
    rounds_found = []
    for number in range(rounds + 1):
        plain = ask(number)  # without the profiler, which takes time itself
        with profile() as profiled:
            all_of_it = ask(number)["seconds"]
        found = dict.fromkeys(PARTS, 0.0)
        for event in profiled.key_averages():
            for part, names in PARTS.items():
                if event.key.removeprefix("aten::") in names:
                    found[part] += event.self_cpu_time_total / 1e6 / all_of_it
        found |= {REST: 1 - sum(found.values()), "seconds": plain["seconds"]}
        found["of peak"] = plain["executed"] / plain["seconds"] / ours.gemm()
        found["products of peak"] = found["of peak"] / found["matrix products"]
        rounds_found.append(found)
    return {name: median(found[name] for found in rounds_found[1:]) for name in rounds_found[0]}


def markdown(rows: list[Row], found: list[dict[str, float]]) -> str:
    """The table: a column for each row of the scoring table."""
    lines = ["| | " + " | ".join(row.case for row in rows) + " |", "|---|" + "---|" * len(rows)]
    lines.append("| seconds | " + " | ".join(f"{one['seconds']:.2f}" for one in found) + " |")
    for name in (*PARTS, REST, "of peak", "products of peak"):
        told = {"of peak": "share of the peak", "products of peak": "if there were nothing but the matrix products"}
        lines.append(f"| {told.get(name, name)} | " + " | ".join(f"{one[name]:.0%}" for one in found) + " |")
    threads = f"{torch.get_num_threads()} thread" + "s" * (torch.get_num_threads() != 1)
    return "\n".join([*lines, "", f"Measured on {threads} of a {ours.facts()['cpu']}, torch {torch.__version__}."])


if __name__ == "__main__":
    sys.exit(main())
