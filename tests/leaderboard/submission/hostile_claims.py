"""The corpus, continued: what a page would show, against what else the file says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.leaderboard.submission.forge import Parts, forged, with_cells, with_rows
from tests.leaderboard.submission.hostile import Make

Row = dict[str, Any]
DRAWN = {"samples": 4, "temperature": 1.0, "top_p": 1.0, "max_tokens": None}


def cells(change: Callable[[Row], Any]) -> Make:
    """Each cell's manifest changed."""
    return lambda parts, out: (
        forged(with_cells(parts, lambda found: [change(cell) for cell in found] and None), out) and None
    )


def _refusals_first(parts: Parts, out: Path) -> None:
    """Of four answers to each string two are broken, and none of them is the first, which decides."""
    answers: Row = {
        "sampled_answer": ["No", "No", "Yes", "Yes"],
        "sampled_state": ["answered"] * 4,
        "sampled_success": [False, False, True, True],
        "sampled_score": [None] * 4,
        "sampled_unparseable": [False] * 4,
        "sampled_nominal": [1.0] * 4,
    }

    def rows(found: list[Row]) -> None:
        for row in found:
            if row["step"] and row["failure"] is None:
                row |= answers | {"success": False, "draws": 4, "broken_draws": 2}

    drawn = with_cells(parts, lambda found: [cell.update(answers=DRAWN) for cell in found] and None)
    forged(with_rows(drawn, rows), out)


def _worst_case(**fields: Any) -> Make:
    return cells(lambda cell: cell["defense_facts"]["diagnostics"]["worst_case"][-1].update(fields))


def _talked_to(**facts: Any) -> Make:
    def change(cell: Row) -> None:
        cell["victim"] |= {"distribution": "robustness-harness"}
        cell["agreement"] |= {
            "chat": {"template": "f" * 20, "system": "default", "prefill": "", "arguments": {}} | facts
        }

    return cells(change)


CLAIMS: dict[str, tuple[Make, str]] = {
    "refusals before the other answers": (_refusals_first, "not that in which they were drawn"),
    "FLOPs of a victim of unknown size": (
        cells(lambda cell: cell["victim_facts"].update(n_params=None, n_params_non_embedding=None)),
        "attack_nominal is known, although the size of the victim",
    ),
    "an accuracy that is not left": (_worst_case(accuracy=1.0), "say that an accuracy of 1.0 is left after 3 steps"),
    "a worst case at a price of its own": (_worst_case(flops=1e15), "say that 3 steps took 1000000000000000.0 FLOPs"),
    "a worst case of no step": (_worst_case(step=99), "name a step 99, and its search has 3"),
    "a system prompt that the spec has not": (
        _talked_to(system="Be safe."),
        "addressed with system 'Be safe.', and its parameters say 'default'",
    ),
    "a prefill that the spec has not": (_talked_to(prefill="No"), "addressed with prefill 'No'"),
    "a template's settings that the spec has not": (_talked_to(arguments={"safe": True}), "addressed with arguments"),
}
