"""Attack strings that succeeded: a few in their conversations, for a page about one victim and defense, or all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.records.read import Cell
from leaderboard.data.conversations import Conversation, conversation

PER_ATTACK = 3
_STEP = ["attack_text", "success", "score", "predicted", "answer", "answer_state", "unparseable", "judge_output"]
_DRAWN = ["answer", "state", "success", "score", "unparseable"]


@dataclass(frozen=True)
class SuccessfulString:
    """One attack string at its first success.

    Attributes:
        attack: label.
        example: id within the task.
        step: of the first success.
        seed: of the cell.
        shown: the conversation that it stands in.
    """

    attack: str
    example: str
    step: int
    seed: int
    shown: Conversation


def successful_strings(cells: Sequence[Cell], *, prompts: bool = True) -> dict[str, list[SuccessfulString]]:
    """Attack label to up to `PER_ATTACK` strings, from the first of ``cells`` that has a success of it.

    Args:
        prompts: whether with the messages that they stand in.
    """
    by_attack: dict[str, list[SuccessfulString]] = {}
    for cell in sorted(cells, key=lambda cell: (cell.record.attack.label, cell.record.seed)):
        attack = cell.record.attack.label
        if attack in by_attack or cell.record.space == "latent":
            continue
        strings = _strings_of_cell(cell, prompts=prompts)
        if strings:
            by_attack[attack] = strings
    return by_attack


def _strings_of_cell(cell: Cell, *, prompts: bool) -> list[SuccessfulString]:
    return [
        SuccessfulString(
            cell.record.attack.label,
            example["example"],
            step["step"],
            cell.record.seed,
            conversation(cell.record, example, step),
        )
        for example, step in recorded_successes(cell, PER_ATTACK, prompts=prompts)
    ]


def recorded_successes(
    cell: Cell, most: int | None = None, *, prompts: bool = True
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The rows of examples and of steps at the first success of each example that fell, the quickest first.

    Args:
        most: at most so many; all when None.
        prompts: whether with the messages; else those are None.
    """
    if cell.record.space == "latent":
        return []
    drawn = [f"sampled_{name}" for name in _DRAWN] if cell.record.samples else []
    table = cell.steps(["example", "step", *_STEP, *drawn])
    first_rows = _first_successes(table, most)
    if not first_rows:
        return []
    steps = table.drop_columns("example").take(list(first_rows.values())).to_pylist()
    columns = ["example", "label", "target", "benign", "predicted", "answer", "messages", "string_at"]
    examples = cell.examples(columns[: None if prompts else 6])
    examples = examples.filter(pc.is_in(examples["example"], pa.array(list(first_rows))))
    unknown = dict.fromkeys(columns)
    by_id = {row["example"]: unknown | row for row in examples.to_pylist()}
    return [
        (by_id.get(example, unknown | {"example": example}), row)
        for example, row in zip(first_rows, steps, strict=True)
    ]


def _first_successes(table: pa.Table, most: int | None) -> dict[str, int]:
    """Example to its row of a cell's table of steps, of the ``most`` examples that fell first."""
    fell = pc.and_(table["success"], pc.is_valid(table["attack_text"]))
    rows = np.flatnonzero(pc.fill_null(fell, False).to_numpy(zero_copy_only=False))
    rows = rows[np.argsort(table["step"].take(rows).to_numpy(), kind="stable")]
    examples = table["example"].combine_chunks().dictionary_encode()
    _, first = np.unique(examples.indices.to_numpy()[rows], return_index=True)
    rows = rows[np.sort(first)[:most]]
    return dict(zip(examples.take(rows).to_pylist(), rows.tolist(), strict=True))
