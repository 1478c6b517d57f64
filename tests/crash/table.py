"""The table of a campaign, as it stands in the docs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.crash.campaign import Result
from tests.crash.kills import ENGINE, TARGETS
from tests.crash.watched import ATTACKING, DOINGS, ENGINE_DOINGS


def table(results: Sequence[Result], left_out: str) -> str:
    """Markdown: a row for each sort of victim.

    Args:
        left_out: why vLLM's process is none of them, or "".
    """
    head = ["killed", "runs", *(f"while {doing}" for doing in DOINGS), "with 2 workers"]
    head += ["rounds done again, at most in a cell", "runs with a record or model lost or changed"]
    rows = [head, ["---"] * len(head)]
    killed = [result for result in results if result.doing]
    for target in TARGETS:
        own = [result for result in killed if result.target == target]
        if not own:
            continue
        doings = Counter(result.doing for result in own)
        rounds = [result.again for result in own if result.doing == ATTACKING]
        lost = sum(bool(result.wrong) for result in own)
        row = [target, len(own), *(doings[doing] for doing in DOINGS), sum(result.jobs == 2 for result in own)]
        rows.append([*map(str, row), str(max(rounds, default="-")), str(lost)])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    engine = Counter(result.engine for result in killed if result.target == ENGINE)
    if left_out:
        lines += ["", f"vLLM's process was not killed: {left_out}."]
    elif engine:
        told = ", ".join(f"{engine[doing]} times while {doing}" for doing in ENGINE_DOINGS)
        lines += ["", f"vLLM's process was killed {told}."]
    left = sum(len(result.left) for result in results)
    lines += [
        "",
        f"Half-written files, journals of finished cells and unfinished artifacts left in all of them: {left}.",
    ]
    if missed := len(results) - len(killed):
        lines += ["", f"Runs besides that had ended before anything was killed: {missed}."]
    return "\n".join(lines) + "\n"
