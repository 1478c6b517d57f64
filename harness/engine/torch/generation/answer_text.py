"""From the new ids of an answer to its text."""

from __future__ import annotations

from collections.abc import Sequence

from harness.tokens.tokenizer import Tokenizer, Tokens


def answer_text(tokenizer: Tokenizer, row: Tokens, answer: Sequence[int]) -> str:
    """The text of an answer's ids, without the one that ended it.

    Args:
        row: the prompt's ids [L], the tokenizer's special ones before it included.
    """
    prompt_ids = row[len(tokenizer.left) :].tolist()
    # In context: some decoders drop the space at the beginning of a text.
    whole, prompt = tokenizer.decode([[*prompt_ids, *answer], prompt_ids])
    return whole[len(prompt) :] if whole.startswith(prompt) else tokenizer.decode([list(answer)])[0]
