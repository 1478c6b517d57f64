"""From labelled examples to rows of token ids. Imports no torch."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.errors import DataError
from harness.task import Example
from harness.tokens.text import Tokenizer


@dataclass(frozen=True, slots=True)
class TrainRow:
    """A sequence to learn from.

    Attributes:
        ids: the whole prompt, with the special ids around it.
        label: index of the right label.
    """

    ids: tuple[int, ...]
    label: int


@dataclass(frozen=True, slots=True)
class CleanRows:
    """Rows of examples as they are, and how many examples were left out because they do not fit the context."""

    rows: list[TrainRow]
    dropped: int


def render(text: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Ids of a prompt as the model expects it: left special ids, text, right special ids."""
    return (*tokenizer.left, *tokenizer.encode([text])[0], *tokenizer.right)


def clean_rows(
    examples: Sequence[Example], tokenizer: Tokenizer, context: int, too_long: Literal["error", "drop"] = "error"
) -> CleanRows:
    """Rows of the clean prompts.

    Args:
        context: longest row in tokens; nothing is ever cut off.
        too_long: what to do with longer rows.

    Raises:
        DataError: a row is too long and ``too_long`` is ``error``, or none is left.
    """
    rows: list[TrainRow] = []
    encoded = tokenizer.encode([example.text for example in examples])
    for example, ids in zip(examples, encoded, strict=True):
        row = TrainRow((*tokenizer.left, *ids, *tokenizer.right), example.label)
        if len(row.ids) <= context:
            rows.append(row)
        elif too_long == "error":
            raise DataError(
                f"example {example.id} has {len(row.ids)} tokens, the model takes {context}; drop long examples or use "
                "a model with a longer context"
            )
    if examples and not rows:
        raise DataError(f"all {len(examples)} examples are longer than the model's {context} tokens")
    return CleanRows(rows, len(examples) - len(rows))


def rows_hash(rows: Sequence[TrainRow]) -> str:
    """sha256 of the rows in their order, hexadecimal."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(array("q", (len(row.ids), *row.ids, row.label)).tobytes())
    return digest.hexdigest()
