"""Rows of token ids: put together from items, grouped by shape, and checked against what a model takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.api.model.backend import GradientItem, PerturbItem, ScoreItem, Target
from harness.errors import VictimError
from harness.tokens.tokenizer import Tokenizer, Tokens

Key = TypeVar("Key", bound=Hashable)


def whole_row(item: GradientItem | PerturbItem) -> Tokens:
    """``before + tokens + after``, shape [P + S + T]."""
    return np.concatenate([item.before, item.tokens, item.after])


def whole_rows(item: ScoreItem) -> NDArray[np.int64]:
    """``before + candidate + after`` of each candidate, shape [K, P + S + T]."""
    count = len(item.candidates)
    before, after = (np.broadcast_to(ids, (count, len(ids))) for ids in (item.before, item.after))
    return np.concatenate([before, item.candidates, after], axis=1).astype(np.int64, copy=False)


def prompt_row(ids: Sequence[int], tokenizer: Tokenizer) -> Tokens:
    """A prompt's ids [L] with the special ones that the model expects around them.

    Raises:
        VictimError: there are none at all.
    """
    row = np.asarray([*tokenizer.left, *ids, *tokenizer.right], dtype=np.int64)
    if not len(row):
        raise VictimError("a prompt without tokens: there is nothing to continue from; write at least one character")
    return row


def target_length(target: Target) -> int:
    """How many tokens a target has; 1 for a label."""
    return 1 if isinstance(target, int) else len(target)


def group_by_key(keys: Sequence[Key]) -> dict[Key, list[int]]:
    """Indices of equal keys, in order of first appearance."""
    groups: defaultdict[Key, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        groups[key].append(i)
    return groups


def check_target(target: Target, head: str, n_labels: int) -> None:
    """Raise VictimError for a label where the head wants the ids of a text, and the other way round.

    Args:
        head: its name, for the message.
        n_labels: 0 of a head that answers in text.
    """
    if isinstance(target, int) == (n_labels == 0) or target == ():
        wanted = "label indices" if n_labels else "ids of a text (at least one)"
        raise VictimError(f"target {target!r}: this victim (head {head}) takes {wanted}")


def check_length(length: int, longest: int) -> None:
    """Raise VictimError for a row that is empty or longer than ``longest`` tokens."""
    if not 0 < length <= longest:
        raise VictimError(
            f"a row of {length} tokens does not fit the model: 1 to {longest} are possible, and nothing is cut off; "
            "drop long examples or shorten the attack string"
        )


def check_ids(ids: NDArray[np.int64], embedding_rows: int) -> None:
    """Raise VictimError for an id that the model has no embedding for."""
    if ids.size and (ids.min() < 0 or ids.max() >= embedding_rows):
        raise VictimError(
            f"token ids {ids.min()} to {ids.max()} exceed the model's embedding (0 to {embedding_rows - 1})"
        )


def check_room_for_answer(length: int, longest: int, room: str) -> None:
    """Raise VictimError for a prompt after which no token fits.

    Args:
        longest: tokens of the longest row, answer included.
        room: what has this limit, for the message.
    """
    if length >= longest:
        raise VictimError(
            f"a prompt of {length} tokens leaves no room for an answer in {room}, and nothing is cut off; shorten the "
            "prompt"
        )
