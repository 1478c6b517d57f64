"""Measures in about ten minutes all that the engine needs to know of a card; goes on where it was stopped.

python -m tests.gpu.kit                     # what is not in gpu_kit.json yet
python -m tests.gpu.kit --only exactness    # one part
python -m tests.gpu.kit --again attention   # a part that is done, once more
python -m tests.gpu.kit --device cpu        # small shapes, to try it out without a card

Every part runs in a process of its own and has a time limit. What it finds is written to the file after each
measurement and printed as one table at the end. The exit status is 1 where a part failed, had no time, or found
something that should not be so (marked !).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from harness.engine.torch.devices import resolve_device
from harness.errors import VictimError
from tests.gpu.parts import PARTS, Part, Row, Setting
from tests.gpu.process import run_part
from tests.gpu.results import Results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is left, and print what was found."""
    asked = _parser().parse_args(arguments)
    try:
        device = str(resolve_device(asked.device)[0])
        setting = Setting(device, small=device == "cpu")
        results = Results(asked.out, setting, asked.again)
    except (ValueError, VictimError) as error:
        _say(f"error: {error}")
        return 2
    wanted = [part for part in PARTS if part.name in (asked.only or [part.name for part in PARTS])]
    left = [replace(part, limit=part.limit * asked.patience) for part in wanted if results.state(part) != "done"]
    _say_what_comes(wanted, left, device, asked.out)
    try:
        for part in left:
            _run(part, setting, results)
    except KeyboardInterrupt:
        _say("interrupted: the same command goes on from here")
    Console(width=None if sys.stdout.isatty() else 160).print(results.table())
    return 0 if results.fine and all(results.state(part) == "done" for part in wanted) else 1


def _run(part: Part, setting: Setting, results: Results) -> None:
    began = time.monotonic()

    def seen(what: str, row: Row) -> None:
        results.add(part, what, row)
        _say(f"  {what}: {row.told}".replace("\n", "; "))

    _say(f"{part.name} ...")
    known = results.known(part)
    results.begin(part)
    state, why = run_part(part, setting, known, seen)
    results.end(part, state, why, time.monotonic() - began)
    _say(f"{part.name}: {state} after {time.monotonic() - began:.0f} s")


def _say_what_comes(wanted: Sequence[Part], left: Sequence[Part], device: str, out: Path) -> None:
    limits = {part.name: part.limit for part in left}
    for part in wanted:
        when = f"at most about {limits[part.name]:.0f} s" if part.name in limits else f"done, read from {out}"
        _say(f"{part.name}: {part.about} ({when})")
    minutes = sum(part.limit for part in left) / 60
    _say(f"On {device}, about {minutes:.0f} minutes at most. Results go to {out}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.gpu.kit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [part.name for part in PARTS]
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ... or cpu (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("gpu_kit.json"), help="file of results (default %(default)s)")
    parser.add_argument("--only", action="append", default=[], choices=names, help="run this part alone; repeatable")
    parser.add_argument("--again", action="append", default=[], choices=names, help="forget this part; repeatable")
    parser.add_argument(
        "--patience", type=float, default=1.0, metavar="TIMES", help="time limits are multiplied by this (default 1)"
    )
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
