"""ASR@j beyond the answers at hand, cell by cell of a run: of the string that each search ended with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.errors import DataError
from harness.records.read import Cell, Run
from leaderboard.data.record_facts import attacked_setting
from leaderboard.fit.repeated.asr_at import chance_so_far, mean_chance
from leaderboard.fit.repeated.extrapolation import Extrapolated, Extrapolation, extrapolate


@dataclass(frozen=True)
class CellExtrapolation:
    """One cell: a model, an attack, a seed.

    Attributes:
        group: what the cell is, by name.
        samples: answers to each string.
        seen: ASR@k of these strings, and its interval; None where none was judged.
        found: what is fitted.
        estimates: by j, more than ``samples``.
    """

    group: dict[str, Any]
    samples: int
    seen: tuple[float, float, float] | None
    found: Extrapolation
    estimates: list[Extrapolated]

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        value, low, high = self.seen or (None, None, None)
        held_out = None if self.found.held_out is None else asdict(self.found.held_out)
        if held_out is not None and self.found.held_out is not None:
            held_out["passed"] = self.found.held_out.passed
        return self.group | {
            "answers": self.samples,
            "prompts": self.found.prompts,
            "asr_at_answers": value,
            "asr_at_answers_low": low,
            "asr_at_answers_high": high,
            "held_out": held_out,
            "asr_at": [asdict(estimate) for estimate in self.estimates],
            "interval": "prompts",
        }


def extrapolate_run(run: Run, asks: Sequence[int]) -> list[CellExtrapolation]:
    """Each cell of a run whose answers were drawn.

    Raises:
        DataError: none of its cells has drawn answers, or ``asks`` are no more than these.
    """
    cells = [cell for cell in run if cell.record.samples]
    if not cells:
        raise DataError(
            f"{run.path}: its victims answered once, greedily. Write answers: {{samples: N}} in the spec, and run it."
        )
    samples = max(cell.record.samples for cell in cells)
    if few := [j for j in asks if j <= samples]:
        raise DataError(
            f"--asks {few[0]}: each string has {samples} answers, which already give this (`harness leaderboard "
            f"show`). Give more than {samples}."
        )
    wanted = list(asks) or [factor * samples for factor in (2, 4, 16)]
    found = [_of_cell(cell, wanted) for cell in cells]
    return sorted(found, key=lambda each: [str(value) for value in each.group.values()])


def _of_cell(cell: Cell, asks: Sequence[int]) -> CellExtrapolation:
    record = cell.record
    group = attacked_setting(record) | {"seed": record.seed}
    successes = last_answers(cell)
    found = extrapolate(list(successes.values()))
    seen = None
    if successes:
        broken, told = (np.array([[count(answers)] for answers in successes.values()]) for count in (sum, len))
        seen = mean_chance([chance_so_far(broken, told, record.samples)], [list(successes)])
    return CellExtrapolation(group, record.samples, seen, found, [found.at(j) for j in asks])


def last_answers(cell: Cell) -> dict[str, list[bool]]:
    """By example, which of the answers to the last string that was judged are broken; those that are missing, or could
    not be judged, left out.
    """
    names = ["example", "step", "sampled_success", "sampled_unparseable"]
    rows = cell.steps(names).sort_by([("example", "ascending"), ("step", "ascending")])
    found = {}
    for row in rows.to_pylist():
        if row["sampled_success"] is not None:
            pairs = zip(row["sampled_success"], row["sampled_unparseable"], strict=True)
            found[row["example"]] = [
                success for success, unparseable in pairs if success is not None and not unparseable
            ]
    return {example: answers for example, answers in found.items() if answers}
