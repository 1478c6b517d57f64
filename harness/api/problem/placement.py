"""Where in a prompt the attack string goes: from an example and a threat model to a `Problem`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from harness.api.problem.problem import Problem
from harness.api.task import NO_LABEL, Edit, Example
from harness.api.threat import Threat
from harness.errors import VictimError
from harness.tokens.message import Conversation, begin_answer
from harness.tokens.prompts import place_of, takes_messages
from harness.tokens.tokenizer import Tokenizer, Tokens


def allowed_tokens(tokenizer: Tokenizer, threat: Threat | None = None) -> Tokens:
    """All ids but special ones, fragments of characters, which alone are no text, and those outside the threat model's
    alphabet; sorted, shape [A].

    Raises:
        VictimError: none is left.
    """
    ids = [i for i in range(tokenizer.vocabulary) if i not in tokenizer.special]
    texts = tokenizer.decode([[i] for i in ids])
    ascii_only = threat is not None and threat.alphabet == "printable_ascii"
    # Alone, a token that is a space may have no text; tokens that never have one are special.
    fits = [all(" " <= c <= "~" for c in text) if ascii_only else "\ufffd" not in text for text in texts]
    if not any(fits):
        raise VictimError(
            "no token of this victim's tokenizer may be used in an attack string; write alphabet: all, or another model"
        )
    return np.asarray([i for i, fit in zip(ids, fits, strict=True) if fit], dtype=np.int64)


def place(
    example: Example,
    threat: Threat,
    tokenizer: Tokenizer,
    allowed: Tokens,
    labels: Sequence[str] = (),
    surround: Callable[[Conversation], Conversation] | None = None,
) -> Problem:
    """Split the prompt around the attack string.

    An overwritable chunk is replaced as a whole. Into a perturbable chunk the string is inserted after the given
    fraction of the chunk's tokens, moved left to the next place where no character is cut. The threat model may ask for
    either of both, whatever the task says. At the position ``answer`` the prompt stays, and the string is what the
    answer begins with: behind an answer's beginning that the task gives, if it does.

    Args:
        labels: the task's.
        surround: puts around a conversation what a defense adds to it; None: nothing.

    Raises:
        VictimError: a conversation that the victim's chat template does not take, or it has none.
    """
    conversation = example.conversation
    read = conversation if surround is None else surround(conversation)
    if not threat.begins_answer:
        before, after = _in_chunk(example, threat, tokenizer)
    elif takes_messages(tokenizer):
        (conversation, before), after = begin_answer(conversation, example.text), ""
        read, _ = begin_answer(read, example.text)
    else:
        before, after = example.text, ""
    around = place_of(tokenizer, before, after, read)
    return Problem(
        example=example,
        before_text=before,
        after_text=after,
        before=np.asarray([*tokenizer.left, *around.before], dtype=np.int64),
        after=np.asarray([*around.after, *tokenizer.right], dtype=np.int64),
        budget=threat.tokens,
        allowed=allowed,
        tokenizer=tokenizer,
        wanted=labels[example.proxy_label] if labels and example.proxy_label != NO_LABEL else example.target,
        radius=threat.radius,
        access=threat.access,
        labels=tuple(labels),
        turns=threat.turns,
        conversation=conversation,
        read=read,
    )


def _in_chunk(example: Example, threat: Threat, tokenizer: Tokenizer) -> tuple[str, str]:
    """The texts around a string in the changeable chunk."""
    at = example.region
    chunk = example.chunks[at]
    before = "".join(c.text for c in example.chunks[:at])
    after = "".join(c.text for c in example.chunks[at + 1 :])
    kept = chunk.edit is Edit.PERTURBABLE if threat.edit == "as_task" else threat.edit == "insert"
    if kept:
        cut = cut_position(chunk.text, threat.fraction, tokenizer)
        before, after = before + chunk.text[:cut], chunk.text[cut:] + after
    return before, after


def cut_position(text: str, fraction: float, tokenizer: Tokenizer) -> int:
    """Character index at which ``fraction`` of the tokens of ``text`` lie to the left; never inside a character or a
    token.
    """
    if fraction >= 1.0:
        return len(text)
    spans = tokenizer.spans(text)
    for i in range(min(round(fraction * len(spans)), len(spans)), 0, -1):
        end = spans[i - 1][1]
        if (
            i == len(spans) or spans[i][0] >= end
        ):  # tokens that share a character (byte-level pieces of one) are not parted
            return end
    return 0
