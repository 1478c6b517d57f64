"""A text put into the string's place as a whole, never cut."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harness import Problem, State, Tokens

_DRY_RUN = "rehearsal"  # the example of dry runs, which have a token per character and so no measure of length


class Placed(NamedTuple):
    """A text in the string's place.

    Attributes:
        tokens: shape [≤ S]; None where it cannot stand there.
        why: why not, as the end of a sentence about it; "" where it can.
    """

    tokens: Tokens | None
    why: str = ""


def place_whole(problem: Problem, text: str) -> Placed:
    """The tokens of a text in its place, set apart from the words around it by a space or the end of a line."""
    before, after = problem.before_text, problem.after_text
    joined_before = before and not before[-1].isspace() and not text[:1].isspace()
    joined_after = after and not after[0].isspace() and not text[-1:].isspace()
    found: set[str] = set()
    for start in (" ", "") if joined_before else ("",):
        for end in ("\n", " ", "") if joined_after else ("",):
            tokens = problem.tokens_of(f"{start}{text}{end}")
            if tokens is None or not problem.survives(tokens[None])[0]:
                found.add("merges with the text around it")
            elif len(tokens) > problem.budget and problem.example.id != _DRY_RUN:
                found.add(f"is longer than {problem.budget} tokens")
            elif not np.isin(tokens, problem.allowed).all():
                found.add("has tokens that the threat model does not allow")
            else:
                return Placed(tokens)
    return Placed(None, min(found))  # of a merge where nothing else stands in the way


def clean_state(problem: Problem) -> State:
    """The string with which the prompt is the clean one, cut to what the threat model allows: the text that the string
    replaces, or none.
    """
    tokens = problem.fitted(problem.replaced) if problem.replaced.strip() else None
    return problem.state(np.empty(0, dtype=np.int64) if tokens is None else tokens)
