"""The table of docs/statistics.md: how often 95% intervals hold the truth of simulated studies.

python -m tests.benchmarks.intervals [--studies 1000] [--jobs 2] [--only GROUP] [--write docs/statistics.md]

The exit status is 1 where a slope's interval holds the truth less often than 93% or more often than 97%.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.intervals.attacks import STUDIES, run
from tests.benchmarks.intervals.defenses import (
    BALANCES,
    SIZES,
    TRAININGS,
    run_balance,
    run_sizes,
    run_training,
)
from tests.benchmarks.intervals.tally import Tally

Runner = Callable[[Any, np.random.Generator, Tally], None]
GROUPS: dict[str, tuple[Runner, Sequence[Any]]] = {
    "Attack scaling": (run, STUDIES),
    "Offense-defense": (run_balance, BALANCES),
    "Efficiency": (run_training, TRAININGS),
    "Size scaling": (run_sizes, SIZES),
}
MARKS = "<!-- intervals: begin -->", "<!-- intervals: end -->"
LEAST, MOST = 0.93, 0.97


def measure(group: str, at: int, studies: int) -> Tally:
    """Simulate and fit so many studies of one design; the same ones each time."""
    runner, designs = GROUPS[group]
    tally = Tally()
    rng = np.random.default_rng(zlib.crc32(f"{group} {designs[at].name}".encode()))
    for _ in range(studies):
        runner(designs[at], rng, tally)
    return tally


def row(name: str, tally: Tally) -> str:
    """A line of the Markdown table."""
    cells = [name, *(_percent(tally, part) for part in ("slope", "intercept", "ASR"))]
    cells += [f"{100 * tally.bias('slope'):+.1f}%".replace("-", "−"), f"{tally.width('slope'):.2f}"]
    cells += [_percent(tally, "ols"), f"{100 * tally.bias('ols'):+.1f}%".replace("-", "−"), str(tally.refused)]
    return "| " + " | ".join(cells) + " |"


def _percent(tally: Tally, name: str) -> str:
    return f"{100 * tally.coverage(name):.1f}%" if tally.count(name) else "–"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="A group, such as Efficiency.")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    lines, outside = [], []
    with ProcessPoolExecutor(asked.jobs) as pool:
        work = [(group, at) for group in GROUPS if asked.only in group for at in range(len(GROUPS[group][1]))]
        tallies = pool.map(measure, *zip(*work, strict=True), [asked.studies] * len(work))
        before = ""
        for (group, at), tally in zip(work, tallies, strict=True):
            if group != before:
                before = group
                heads = ["slope held", "intercept held", "ASR held", "bias", "width", "ols: slope held", "ols: bias"]
                lines += ["", "| " + " | ".join([group, *heads, "refused"]) + " |", "|" + "---|" * 9]
            name = GROUPS[group][1][at].name
            lines.append(row(name, tally))
            print("\n".join(lines[-3:] if at == 0 else lines[-1:]), flush=True)
            if not LEAST <= round(tally.coverage("slope"), 3) <= MOST:
                outside.append(name)
    if asked.write:
        text = asked.write.read_text(encoding="utf-8")
        head, rest = text.split(MARKS[0])
        text = head + MARKS[0] + "\n" + "\n".join(lines) + "\n\n" + MARKS[1] + rest.split(MARKS[1])[1]
        asked.write.write_text(text, encoding="utf-8")
    if outside:
        print(f"outside {LEAST:.0%} to {MOST:.0%}: {'; '.join(outside)}")
    return bool(outside)


if __name__ == "__main__":
    raise SystemExit(main())
