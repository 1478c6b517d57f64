"""A few attack strings that succeeded, for a page about one victim and defense."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from harness.records.read import Cell

PER_ATTACK = 3
LONGEST = 600  # characters shown of a string or an answer


@dataclass(frozen=True)
class FoundString:
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


def found_strings(cells: Sequence[Cell]) -> list[FoundString]:
    """Up to `PER_ATTACK` strings of each attack, from the first of ``cells`` that has a success of it."""
    out: list[FoundString] = []
    done: set[str] = set()
    for cell in sorted(cells, key=lambda c: (c.record.attack.label, c.record.seed)):
        if cell.record.attack.label in done or cell.record.space == "latent":
            continue
        found = _of(cell)
        if found:
            done.add(cell.record.attack.label)
            out += found
    return out


def _of(cell: Cell) -> list[FoundString]:
    text = cell.record.task_kind == "text"
    names = ["example", "step", "success", "attack_text", *(["answer"] if text else [])]
    table = cell.steps(names)
    table = table.filter(pc.and_(table.column("success"), pc.is_valid(table.column("attack_text"))))
    if not len(table):
        return []
    examples, steps = table.column("example").to_pylist(), table.column("step").to_numpy()
    first: dict[str, int] = {}
    for at in np.argsort(steps, kind="stable").tolist():
        if first.setdefault(examples[at], at) == at and len(first) == PER_ATTACK:
            break
    out = []
    for example, at in first.items():
        answer = table.column("answer")[at].as_py() if text else None
        out.append(
            FoundString(
                cell.record.attack.label,
                example,
                int(steps[at]),
                cell.record.seed,
                visible(table.column("attack_text")[at].as_py()),
                None if answer is None else visible(answer),
            )
        )
    return out


def visible(text: str) -> str:
    """``text`` with control, format and unassigned characters written out (``\\u202e``), so that none can turn or hide
    what stands beside it; cut at `LONGEST`.
    """
    cut = text[:LONGEST]
    shown = "".join(c if c in "\n\t " or unicodedata.category(c)[0] not in "CZ" else _code(c) for c in cut)
    return shown + (f" … ({len(text) - LONGEST} more characters)" if len(text) > LONGEST else "")


def _code(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
