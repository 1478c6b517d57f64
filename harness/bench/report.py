"""What was found, as JSON data and as tables for people."""

from __future__ import annotations

import os
import platform
from statistics import median
from typing import Any

import torch
import transformers
from rich.table import Table

from harness.bench.attack_iteration import PARTS, IterationReport
from harness.bench.model import BenchModel
from harness.bench.scoring import ScoringReport
from harness.bench.workload import WorkloadShape
from harness.engine.torch.devices import dtype_name


def conditions(subject: BenchModel, shape: WorkloadShape, rounds: int) -> dict[str, Any]:
    """What was measured, and on what machine."""
    return {
        "model": {
            "name": subject.name,
            "source": subject.source,
            "architecture": type(subject.model).__name__,
            "parameters": subject.parameters,
            "head": subject.head,
            "dtype": dtype_name(subject.dtype),
        },
        "shape": shape.to_json(),
        "rounds": rounds,
        "machine": {
            "device": device_name(subject.device),
            "threads": torch.get_num_threads(),
            "cpus": os.cpu_count(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def device_name(device: torch.device) -> str:
    """The card, or the kind of processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"


def scoring_json(report: ScoringReport) -> dict[str, Any]:
    """Plain data."""
    return {
        "gemm": {"peak_flops_per_second": report.peak, "own_shapes_flops_per_second": report.own},
        "tolerance": report.tolerance,
        "compared_candidates_per_example": report.compared,
        "paths": [
            {
                "asked": path.asked,
                "path": path.path,
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
    """Plain data."""
    return {
        "gemm": {"peak_flops_per_second": report.peak},
        "paths": [
            {
                "asked": path.asked,
                "path": path.path,
                "candidates": median(path.scored),
                "iteration_seconds": path.typical,
                "seconds": path.seconds,
                "parts": {part: median(path.parts[part]) for part in PARTS},
                "executed_flops": median(path.executed),
                "share_of_peak": path.of_peak,
            }
            for path in report.paths
        ],
    }


def scoring_table(report: ScoringReport) -> Table:
    """One line per path."""
    table = _table("path", "candidates/s", "to the first", "of peak", "candidates", "error")
    for path in report.paths:
        table.add_row(
            _name(path.asked, path.path),
            f"{path.rate:,.0f}" if path.rate >= 10 else f"{path.rate:.2g}",
            f"{path.rate / report.paths[0].rate:.2f} ×",
            f"{path.of_peak:.0%}",
            f"{path.candidates:,}",
            f"{path.difference:.1e}" + ("" if path not in report.wrong else " !"),
        )
    return table


def iteration_table(report: IterationReport) -> Table:
    """One line per path, milliseconds."""
    table = _table("path", "ms", *PARTS, "of peak", "scored")
    for path in report.paths:
        parts = [f"{1e3 * median(path.parts[part]):.1f}" for part in PARTS]
        name, whole = _name(path.asked, path.path), f"{1e3 * path.typical:.1f}"
        table.add_row(name, whole, *parts, f"{path.of_peak:.0%}", f"{median(path.scored):,.0f}")
    return table


def rates(peak: float, own: float | None = None) -> str:
    """The line below a table."""
    line = f"GEMM peak {peak / 1e9:,.0f} GFLOP/s"
    if own is None:
        return line + "."
    return line + f"; at the shapes of the model's own layers {own / 1e9:,.0f} ({own / peak:.0%} of the peak)."


def _name(asked: str, path: str) -> str:
    return asked if asked == path else f"{asked} ({path})"


def _table(*columns: str) -> Table:
    table = Table(box=None)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    return table
