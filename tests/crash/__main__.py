"""``python -m tests.crash --runs 100 --write docs/crashes.md``: the campaign, and its table in a page."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.progress import track

from tests.crash.campaign import TARGETS, Campaign

BEGIN, END = "<!-- campaign -->\n", "<!-- end -->\n"


def table(campaign: Campaign) -> str:
    """Markdown: a row for each sort of victim."""
    doings = sorted({doing for _, doing in campaign.kills})
    head = ["killed", "runs", *(f"while {doing}" for doing in doings), "runs with a record or model lost or changed"]
    rows = [head, ["---"] * len(head)]
    for target in TARGETS:
        counts = [str(campaign.kills[target, doing]) for doing in doings]
        rows.append([target, str(campaign.runs[target]), *counts, str(campaign.lost[target])])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + f"\n\nHalf-written files left behind in all of them: {campaign.torn}.\n"


def main() -> None:
    """Run it and show the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help="a page whose table is replaced")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), options.seed)
        campaign.begin()
        for number in track(range(options.runs), "runs"):
            campaign.one(number)
        found = table(campaign)
    print(found)
    if options.write:
        page = options.write.read_text()
        before, rest = page.split(BEGIN)
        options.write.write_text(before + BEGIN + found + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
