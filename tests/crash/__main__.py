"""``python -m tests.crash --runs 100 --write docs/crashes.md``: the campaign, and its table in a page.

With ``--keep FOLDER`` it can be stopped, and goes on where it was; what is left of runs that lost anything stays there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import track

from tests.crash.campaign import Campaign, Result
from tests.crash.table import table

BEGIN, END = "<!-- campaign -->\n", "<!-- end -->\n"
EVERY = 10  # runs, after each of which the table so far is shown


def main() -> int:
    """Run it and show the table; 1 where anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help="a page whose table is replaced")
    parser.add_argument("--keep", type=Path, help="a folder for the runs; one that is there is gone on with")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        campaign = Campaign(folder.resolve(), options.seed)
        kept = folder / "results.jsonl"
        lines = kept.read_text().splitlines() if kept.exists() else []
        campaign.results += [Result(**json.loads(line)) for line in lines]
        numbers = [n for n in range(options.runs) if n not in {result.number for result in campaign.results}]
        console = Console(stderr=True)
        for number in track(numbers, "runs", console=console):
            result = campaign.one(number)
            with kept.open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")
            if result.wrong or result.left:
                console.print(str(result), markup=False)
            if len(campaign.results) % EVERY == 0:
                print(table(campaign.results, campaign.left_out), file=sys.stderr, flush=True)
        found = table(campaign.results, campaign.left_out)
    print(found)
    if options.write:
        page = options.write.read_text()
        before, rest = page.split(BEGIN)
        options.write.write_text(before + BEGIN + found + END + rest.split(END)[1])
    return int(any(result.wrong or result.left for result in campaign.results))


if __name__ == "__main__":
    sys.exit(main())
