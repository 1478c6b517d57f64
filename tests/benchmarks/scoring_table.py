#!/usr/bin/env python3
"""How fast candidates are scored here, against nanogcg 0.3 in its own environment, on the same machine in turns.

Makes both environments itself, needs nothing but Python 3.11 and a package registry. See README.md next to it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import environments, table
from tests.benchmarks.measure import Bench, Result
from tests.benchmarks.rows import ROWS, select
from tests.benchmarks.worker import Worker


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 0 when every row that was measured reaches what it must, 1 when one does not."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        rows = select([name for part in given.rows for name in part.split(",")])
    except ValueError as error:
        parser.error(str(error))
    if given.rounds < 1 or given.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    if given.write and not given.write.is_file():
        parser.error(f"--write {given.write}: no such file")
    given.envs.mkdir(parents=True, exist_ok=True)
    try:
        ours = given.ours or environments.ours(given.envs, _say)
        theirs = given.nanogcg or environments.nanogcg(given.envs, ours, _say)
        settings = environments.own_settings(ours)
    except (OSError, subprocess.CalledProcessError) as error:
        _say(f"error: an environment cannot be made: {error}")
        return 2
    with tempfile.TemporaryDirectory(prefix="scoring-table-") as name:
        folder = Path(name)
        try:
            with (
                Worker(ours, "tests.benchmarks.ours", given.threads, folder / "ours.log", settings) as mine,
                Worker(theirs, "tests.benchmarks.theirs", given.threads, folder / "nanogcg.log") as other,
            ):
                facts, versions = mine.ask("facts"), other.ask("facts")
                _say(f"{len(rows)} rows, {given.rounds} rounds each, {given.threads} threads on either side")
                bench = Bench(mine, other, folder / "models", given.envs / "victims", given.rounds)
                results: list[Result] = []
                for row in rows:
                    _say(f"{row.id}: {row.case}")
                    results.append(bench.run(row))
                    _say(f"  {_short(results[-1])}")
        except RuntimeError as error:
            _say(f"error: {error}")
            return 2
    text = table.markdown(rows, results, table.described(facts, versions, given.rounds))
    if given.json:
        print(json.dumps({"ours": facts, "nanogcg": versions, "rows": [result.to_json() for result in results]}))
    else:
        print(text)
    if given.write:
        table.write(given.write, text)
    missed = [row.id for row, result in zip(rows, results, strict=True) if table.holds(row, result) is False]
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], epilog=f"Rows: {', '.join(row.id for row in ROWS)}."
    )
    parser.add_argument(
        "--rows", action="append", default=[], metavar="ID[,ID]", help="measure these rows alone; repeatable"
    )
    parser.add_argument("--rounds", type=int, default=7, help="how often each side is timed (default %(default)s)")
    parser.add_argument("--threads", type=int, default=cores, help="of either side (default: all cores, %(default)s)")
    default = Path(tempfile.gettempdir()) / "harness-benchmark"
    parser.add_argument(
        "--envs", type=Path, default=default, help="folder for the environments, kept for the next time (%(default)s)"
    )
    parser.add_argument("--ours", type=Path, metavar="PYTHON", help="an environment with this project, made already")
    parser.add_argument("--nanogcg", type=Path, metavar="PYTHON", help="one with nanogcg, made already")
    parser.add_argument("--json", action="store_true", help="print JSON with all seconds instead of the table")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page, between its markers")
    return parser


def _short(result: Result) -> str:
    if result.missing:
        return f"not measured: {result.missing}"
    parts = [
        None if result.ratio is None else f"{result.ratio:.2f} times",
        None if result.of_peak is None else f"{result.of_peak:.0%}",
        None if result.error is None else f"error {result.error:.1e}",
    ]
    return ", ".join(part for part in parts if part)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
