"""Tokens of a text that goes on from another one."""

from __future__ import annotations

from harness.tokens.tokenizer import Tokenizer

# A text goes on from at least one of these without merging with it.
_BEGINNINGS = (":", "0", "a", ")")


def continuation_ids(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    """Ids of ``text`` where it goes on from another text: a label or target after a prompt, a prompt after the attack
    string.

    Some tokenizers put a space before every text that they are given (SentencePiece and its kin): its ids alone are
    then not those that it has in a longer text. Of tokenizers that add nothing, the ids are those of the text alone.
    They are also where the text merges with whatever precedes it, so that it has no ids by itself.

    Returns:
        length t; empty for an empty text.
    """
    if not text:
        return ()
    (alone,) = tokenizer.encode([text])
    found: list[int] | None = None
    for beginning in _BEGINNINGS:
        start, whole = tokenizer.encode([beginning, beginning + text])
        if not start:
            continue
        if whole == [*start, *alone]:
            return tuple(alone)
        if found is None and whole[: len(start)] == start:
            found = whole[len(start) :]
    return tuple(alone if found is None else found)
