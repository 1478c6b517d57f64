"""From examples to rows of token ids. Imports no torch."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.api.task import NO_LABEL, Example
from harness.api.training import TrainRow
from harness.errors import DataError, VictimError
from harness.tokens.message import Prompt
from harness.tokens.prompts import answer_ids, encode_prompts
from harness.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class CleanRows:
    """Rows of examples as they are, and how many examples were left out because they do not fit the context."""

    rows: list[TrainRow]
    dropped: int


def render(prompt: Prompt, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Ids of a prompt as the model expects it: left special ids, text, right special ids; or by its chat template."""
    return (*tokenizer.left, *encode_prompts(tokenizer, [prompt])[0], *tokenizer.right)


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
    encoded = encode_prompts(tokenizer, [example.prompt for example in examples])
    rows = [
        TrainRow((*tokenizer.left, *ids, *tokenizer.right), example.label)
        for example, ids in zip(examples, encoded, strict=True)
    ]
    return _fitting(examples, rows, context, too_long)


def reply_rows(
    examples: Sequence[Example],
    tokenizer: Tokenizer,
    context: int,
    end: int | None,
    too_long: Literal["error", "drop"] = "error",
) -> CleanRows:
    """Rows for a language model: it learns to say each example's reply, and the ``end`` token after it.

    An example without a reply is a text of which every token but the first is learnt, and no end.

    Args:
        context: longest row in tokens, reply and end included; nothing is ever cut off.
        end: id of the token that ends an answer; None where the model has none.
        too_long: what to do with longer rows.

    Raises:
        DataError: a row is too long and ``too_long`` is ``error``, or none is left; a text of a single token.
    """
    encoded = encode_prompts(tokenizer, [example.prompt for example in examples])
    replies = {reply: reply_ids(reply, tokenizer, end) for reply in dict.fromkeys(e.reply for e in examples)}
    rows = [
        reply_row((*tokenizer.left, *ids, *tokenizer.right), replies[example.reply])
        for example, ids in zip(examples, encoded, strict=True)
    ]
    for example, row in zip(examples, rows, strict=True):
        if not row.says:
            raise DataError(f"example {example.id} has no reply, and no text of two tokens either: nothing to learn")
    return _fitting(examples, rows, context, too_long)


def reply_ids(reply: str, tokenizer: Tokenizer, end: int | None) -> tuple[int, ...]:
    """What a language model is to say after a prompt: the reply's ids and ``end``; nothing where there is no reply."""
    return (*answer_ids(tokenizer, reply), *(() if end is None else (end,))) if reply else ()


def reply_row(prompt: Sequence[int], reply: Sequence[int] = ()) -> TrainRow:
    """A row for a language model: ids of a whole prompt (`render`) and those of its reply (`reply_ids`); of a text
    alone, which is learnt itself, where that is empty.
    """
    return TrainRow((*prompt, *reply), NO_LABEL, len(prompt) if reply else 1)


def _fitting(
    examples: Sequence[Example], rows: list[TrainRow], context: int, too_long: Literal["error", "drop"]
) -> CleanRows:
    """The rows that the model's context has room for."""
    kept = [row for row in rows if len(row.ids) <= context]
    if too_long == "error" and len(kept) < len(rows):
        example, row = next(pair for pair in zip(examples, rows, strict=True) if len(pair[1].ids) > context)
        raise DataError(
            f"example {example.id} has {len(row.ids)} tokens, the model takes {context}; drop long examples or use "
            "a model with a longer context"
        )
    if rows and not kept:
        raise DataError(f"all {len(rows)} examples are longer than the model's {context} tokens")
    return CleanRows(kept, len(rows) - len(kept))


def check_rows(rows: Sequence[TrainRow], *, labelled: bool) -> None:
    """Raise VictimError where there is nothing to learn from, or rows are of the other sort than the model."""
    if not rows or any(not row.ids for row in rows):
        raise VictimError("training needs at least one row, and at least one token in each")
    if any(row.latent and not 0 <= row.latent_at <= len(row.ids) - row.latent.shape[0] for row in rows):
        raise VictimError("a row has a perturbation of places that it does not have")
    if labelled and any(row.label < 0 for row in rows):
        raise VictimError("a model that chooses among labels was given a row without label; give rows of `clean_rows`")
    if not labelled and any(not row.says for row in rows):
        raise VictimError("a model that answers in text was given a row without an answer; give rows of `reply_rows`")


def rows_hash(rows: Sequence[TrainRow]) -> str:
    """sha256 of the rows in their order, hexadecimal."""
    digest = hashlib.sha256()
    for row in rows:
        start = () if row.start is None else (row.start,)
        digest.update(array("q", (len(row.ids), *row.ids, row.label, *start)).tobytes())
        if row.latent is not None:
            place = array("q", (row.latent_at, row.latent.layer, *row.latent.shape)).tobytes()
            digest.update(b"latent" + place + row.latent.data.encode())
    return digest.hexdigest()
