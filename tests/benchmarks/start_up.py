#!/usr/bin/env python3
"""How fast commands start: what they take of the processor, in multiples of what Python alone takes.

By the processor's time, not the clock's, and in pairs: one command, then ``python -c pass``, so that whatever else the
machine is doing disturbs both alike. Run it with the Python of an environment that has this project.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.environments import cpu_name
from tests.benchmarks.table import write

MARK = "start_up.py"
HEAD = "| command | must | aim | measured | middle half | must holds |\n|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Command:
    """A command, and how many times as long as Python alone it must take, and should take, at most; None: no bound."""

    arguments: str
    must: float | None = None
    aim: float | None = None

    def holds(self, measured: float) -> bool:
        """Whether it takes no longer than it must."""
        return self.must is None or measured <= self.must


COMMANDS = (
    Command("--help", 6, 4),
    Command("plugins", 12, 8),
    Command("validate quickstart", 14, 10),
    Command("validate quickstart --spec-only"),
)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 0 where every command reaches what it must, 1 where one does not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="pairs of each command (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON with the ratio of each pair, not the table")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page, between its markers")
    given = parser.parse_args(arguments)
    if given.rounds < 2:
        parser.error("--rounds must be at least 2")
    try:
        found = {command: ratios(command.arguments.split(), given.rounds) for command in COMMANDS}
    except subprocess.CalledProcessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = markdown(found)
    print(json.dumps({command.arguments: told for command, told in found.items()}) if given.json else text)
    if given.write:
        write(given.write, text, MARK)
    return 0 if all(command.holds(median(told)) for command, told in found.items()) else 1


def ratios(command: list[str], rounds: int) -> list[float]:
    """Of each pair, the command's time over that of Python alone. A first pair, which reads the files, is left out."""
    harness, alone = ["-m", "harness", *command], ["-c", "pass"]
    pairs = [(_seconds(harness), _seconds(alone)) for _ in range(rounds + 1)]
    return [took / least for took, least in pairs[1:]]


def _seconds(arguments: list[str]) -> float:
    """What a process took of the processor, in itself and the system, its own processes included."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return used.ru_utime + used.ru_stime


def markdown(found: dict[Command, list[float]]) -> str:
    """The table, and a line below it that says where it was measured."""
    lines = []
    for command, told in found.items():
        low, middle, high = quantiles(told, n=4)
        held = "" if command.must is None else "yes" if command.holds(middle) else "no"
        goals = " | ".join("" if goal is None else f"{goal:g}×" for goal in (command.must, command.aim))
        lines.append(f"| `harness {command.arguments}` | {goals} | {middle:.1f}× | {low:.1f}–{high:.1f} | {held} |")
    pairs = len(next(iter(found.values())))
    version = ".".join(map(str, sys.version_info[:3]))
    return "\n".join([HEAD, *lines, "", f"Medians of {pairs} pairs on a {cpu_name()}, Python {version}."])


if __name__ == "__main__":
    sys.exit(main())
