"""The table in markdown, and its place in a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Result
from tests.benchmarks.rows import Row

MARK = "scoring_table.py"
BEGIN, END = f"<!-- {MARK}: begin -->", f"<!-- {MARK}: end -->"
ERROR = 1e-4  # in nats; of half precision the worker's own tolerance holds
HEAD = "| case | must | aim | measured | of GEMM peak | error | must holds |\n|---|---|---|---|---|---|---|"


def markdown(rows: list[Row], results: list[Result], where: str) -> str:
    """The table and the line below it.

    Args:
        where: on what it was measured, in words.
    """
    lines = [_line(row, result) for row, result in zip(rows, results, strict=True)]
    return "\n".join([HEAD, *lines, "", where])


def holds(row: Row, result: Result) -> bool | None:
    """Whether what must be reached is reached; None where it was not measured."""
    if result.missing:
        return None
    reached = [
        row.must is None or (result.ratio is not None and result.ratio >= row.must),
        row.must_peak is None or (result.of_peak is not None and result.of_peak >= row.must_peak),
        row.kind == "gpu" or result.error is None or result.error <= ERROR,
    ]
    return all(reached)


def described(facts: dict[str, Any], theirs: dict[str, Any], rounds: int) -> str:
    """The line below the table."""
    return (
        f"Measured on {facts['threads']} threads of a {facts['cpu']}"
        + (f" and a {facts['gpu']}" if facts["gpu"] else "")
        + f"; medians of {rounds} rounds in turns. Ours: torch {facts['torch']}, transformers {facts['transformers']}; "
        f"nanogcg 0.3.0: torch {theirs['torch']}, transformers {theirs['transformers']}. "
        "Of a cell, the share is of its wall time."
    )


def write(page: Path, text: str, mark: str = MARK) -> None:
    """Put a table into a page, between its two markers.

    Args:
        mark: the name of the script that made it, which its markers have.

    Raises:
        ValueError: the page has no such place.
    """
    begin, end = (line.replace(MARK, mark) for line in (BEGIN, END))
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(begin) > old.index(end):
        raise ValueError(f"{page}: the lines {begin} and {end} must stand in it once, in this order")
    head, rest = old.split(begin)
    tail = rest.split(end)[1]
    page.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")


def _line(row: Row, result: Result) -> str:
    if result.missing:
        cells = [f"not measured: {result.missing}", "", "", ""]
    else:
        cells = [
            "" if result.ratio is None else f"{result.ratio:.2f}×",
            "" if result.of_peak is None else f"{result.of_peak:.0%}",
            "" if result.error is None else f"{result.error:.0e}",
            "yes" if holds(row, result) else "no",
        ]
    return f"| {row.case} | {_goal(row.must, row.must_peak)} | {_goal(row.aim, row.aim_peak)} | {' | '.join(cells)} |"


def _goal(ratio: float | None, peak: float | None) -> str:
    parts = ([] if ratio is None else [f"{ratio:g}×"]) + ([] if peak is None else [f"{peak:.0%}"])
    return ", ".join(parts)
