"""What a benchmark found, as JSON data and as tables for people."""

from __future__ import annotations

import os
import platform
from statistics import median
from typing import Any

import torch
import transformers
from rich.table import Table

from harness.bench.attack_iteration import PARTS, IterationReport
from harness.bench.backends import PathName, path_code
from harness.bench.model import BenchModel
from harness.bench.scoring import ScoringReport
from harness.bench.workload import WorkloadShape
from harness.engine.torch.devices import dtype_name


def setup_json(model: BenchModel, shape: WorkloadShape, rounds: int) -> dict[str, Any]:
    """What was measured, and on what machine; plain data."""
    return {
        "model": {
            "name": model.name,
            "source": model.source,
            "architecture": type(model.model).__name__,
            "parameters": model.parameters,
            "head": model.head,
            "dtype": dtype_name(model.dtype),
        },
        "shape": shape.to_json(),
        "rounds": rounds,
        "machine": {
            "device": hardware_name(model.device),
            "threads": torch.get_num_threads(),
            "cpus": os.cpu_count(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def hardware_name(device: torch.device) -> str:
    """The name of the card, or the kind of processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"


def scoring_json(report: ScoringReport) -> dict[str, Any]:
    """A report as plain data, see `path_code`."""
    return {
        "gemm": {"peak_flops_per_second": report.peak, "own_shapes_flops_per_second": report.layer_rate},
        "tolerance": report.tolerance,
        "compared_candidates_per_example": report.compared,
        "paths": [
            {
                "asked": path_code(path.requested),
                "path": path_code(path.path),
                "strategy": path.path,
                "candidates": path.candidates,
                "candidates_per_second": path.rate,
                "seconds": path.seconds,
                "executed_flops": path.executed,
                "share_of_peak": path.of_peak,
                "largest_difference": path.difference,
            }
            for path in report.paths
        ],
    }


def iteration_json(report: IterationReport) -> dict[str, Any]:
    """A report as plain data, see `path_code`."""
    return {
        "gemm": {"peak_flops_per_second": report.peak},
        "paths": [
            {
                "asked": path_code(path.requested),
                "path": path_code(path.path),
                "strategy": path.path,
                "candidates": median(path.scored),
                "iteration_seconds": path.median_seconds,
                "seconds": path.seconds,
                "parts": {part: median(path.parts[part]) for part in PARTS},
                "executed_flops": median(path.executed),
                "share_of_peak": path.of_peak,
            }
            for path in report.paths
        ],
    }


def scoring_table(report: ScoringReport) -> Table:
    """A table with one line per path."""
    table = _table("path", "candidates/s", "to the first", "of peak", "candidates", "error")
    for path in report.paths:
        table.add_row(
            _path_label(path.requested, path.path),
            f"{path.rate:,.0f}" if path.rate >= 10 else f"{path.rate:.2g}",
            f"{path.rate / report.paths[0].rate:.2f} ×",
            f"{path.of_peak:.0%}",
            f"{path.candidates:,}",
            f"{path.difference:.1e}" + ("" if path not in report.wrong else " !"),
        )
    return table


def iteration_table(report: IterationReport) -> Table:
    """A table with one line per path, in milliseconds."""
    table = _table("path", "ms", *PARTS, "of peak", "scored")
    for path in report.paths:
        parts = [f"{1e3 * median(path.parts[part]):.1f}" for part in PARTS]
        name, whole = _path_label(path.requested, path.path), f"{1e3 * path.median_seconds:.1f}"
        table.add_row(name, whole, *parts, f"{path.of_peak:.0%}", f"{median(path.scored):,.0f}")
    return table


def peak_line(peak: float, layer_rate: float | None = None) -> str:
    """The line below a table: FLOP/s of large products, and of the model's own layers where these were measured."""
    line = f"GEMM peak {peak / 1e9:,.0f} GFLOP/s"
    if layer_rate is None:
        return line + "."
    own = f"{layer_rate / 1e9:,.0f} ({layer_rate / peak:.0%} of the peak)"
    return line + f"; for matrices of the shapes of the model's own layers {own}."


def _path_label(requested: PathName, path: PathName) -> str:
    return requested if requested == path else f"{requested} ({path})"


def _table(*columns: str) -> Table:
    table = Table(box=None)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    return table
