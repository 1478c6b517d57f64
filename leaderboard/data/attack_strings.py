"""A few attack strings that succeeded, for a page about one victim and defense."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from harness.records.read import Cell

PER_ATTACK = 3
MAX_CHARACTERS = 600  # shown of a string or an answer


@dataclass(frozen=True)
class SuccessfulString:
    """One attack string at its first success; texts have what cannot be seen written out.

    Attributes:
        attack: label.
        example: id within the task.
        step: of the first success.
        seed: of the cell.
        text: the attack string.
        answer: what the victim said, where it answers in text.
    """

    attack: str
    example: str
    step: int
    seed: int
    text: str
    answer: str | None


def successful_strings(cells: Sequence[Cell]) -> dict[str, list[SuccessfulString]]:
    """Attack label to up to `PER_ATTACK` strings, from the first of ``cells`` that has a success of it."""
    by_attack: dict[str, list[SuccessfulString]] = {}
    for cell in sorted(cells, key=lambda cell: (cell.record.attack.label, cell.record.seed)):
        attack = cell.record.attack.label
        if attack in by_attack or cell.record.space == "latent":
            continue
        strings = _strings_of_cell(cell)
        if strings:
            by_attack[attack] = strings
    return by_attack


def _strings_of_cell(cell: Cell) -> list[SuccessfulString]:
    has_answers = cell.record.task_kind == "text"
    table = cell.steps(["example", "step", "success", "attack_text", *(["answer"] if has_answers else [])])
    table = table.filter(pc.and_(table.column("success"), pc.is_valid(table.column("attack_text"))))
    if not len(table):
        return []
    examples, steps = table.column("example").to_pylist(), table.column("step").to_numpy()
    first_row: dict[str, int] = {}
    for row in np.argsort(steps, kind="stable").tolist():
        if first_row.setdefault(examples[row], row) == row and len(first_row) == PER_ATTACK:
            break
    strings = []
    for example, row in first_row.items():
        answer = table.column("answer")[row].as_py() if has_answers else None
        strings.append(
            SuccessfulString(
                cell.record.attack.label,
                example,
                int(steps[row]),
                cell.record.seed,
                escape_invisible(table.column("attack_text")[row].as_py()),
                None if answer is None else escape_invisible(answer),
            )
        )
    return strings


def escape_invisible(text: str) -> str:
    """``text`` with control, format and unassigned characters written out (``\\u202e``), so that none can turn or hide
    what stands beside it; cut at `MAX_CHARACTERS`.
    """
    escaped = "".join(
        character
        if character in "\n\t " or unicodedata.category(character)[0] not in "CZ"
        else _unicode_escape(character)
        for character in text[:MAX_CHARACTERS]
    )
    more = len(text) - MAX_CHARACTERS
    return escaped + (f" … ({more} more characters)" if more > 0 else "")


def _unicode_escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
