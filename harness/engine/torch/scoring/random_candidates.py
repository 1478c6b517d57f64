"""Random neighbours of a string of tokens, as measurements and self-checks score them. Imports no torch."""

from __future__ import annotations

import numpy as np

from harness.tokens.tokenizer import Tokens


def one_position_redrawn(string: Tokens, count: int, allowed: Tokens, rng: np.random.Generator) -> Tokens:
    """Copies of a string [S], each with one token at a uniform position drawn again; shape [count, S]."""
    rows = np.repeat(string[None], count, 0)
    drawn = rng.choice(allowed, size=count)
    rows[np.arange(count), rng.integers(len(string), size=count)] = drawn
    return rows
