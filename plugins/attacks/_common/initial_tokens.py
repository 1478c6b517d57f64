"""The string that a search starts from."""

from __future__ import annotations

from math import ceil

import numpy as np

from harness import Problem, Tokens

RANDOM = "random"
_MAX_CHARS_PER_TOKEN = 16  # a text of so many characters per token fills the budget


def initial_tokens(initial: str, problem: Problem, rng: np.random.Generator) -> Tokens:
    """A first string, shape [S].

    Args:
        initial: ``random`` for allowed tokens drawn uniformly; else a text, of which S tokens in a row are taken: the
            first that are allowed and survive tokenisation in place. A text that is too short is repeated. Where there
            are no such tokens, the longest beginning that is allowed and survives is followed by random tokens; where
            there is none, all are random.
    """
    if initial == RANDOM:
        return problem.random_tokens(rng)
    size = problem.budget
    repeated = initial * (ceil(_MAX_CHARS_PER_TOKEN * size / len(initial)) + 1)
    for text in (initial, repeated):
        tokens = problem.tokens_of(text)
        if tokens is None:  # its end merges with what follows; the part taken may not
            tokens = np.asarray(problem.tokenizer.encode([text])[0], dtype=np.int64)
        if len(tokens) >= size:
            rows = np.lib.stride_tricks.sliding_window_view(tokens, size)
            rows = rows[np.isin(rows, problem.allowed).all(axis=1)]
            rows = rows[problem.survives(rows)]
            if len(rows):
                first: Tokens = rows[0]
                return first
    return _random_after(problem.fitted(repeated), problem, rng)


def _random_after(head: Tokens | None, problem: Problem, rng: np.random.Generator) -> Tokens:
    """The head [m] and random tokens after it, [S]; random tokens alone where no such string survives."""
    if head is not None:
        rest = problem.budget - len(head)
        rows = problem.refill(
            1, lambda n: np.concatenate([np.tile(head, (n, 1)), rng.choice(problem.allowed, size=(n, rest))], axis=1)
        )
        if len(rows):
            filled: Tokens = rows[0]
            return filled
    return problem.random_tokens(rng)
