"""Drawing next tokens without replacement, the same from every backend that knows the same probabilities.

Each token's log-probability gets Gumbel noise and the k largest sums win, which is drawing one after another without
replacement (Vieira 2014; Kool et al., arXiv 1903.06059). The noise of a token is a hash of (seed, string, token id)
and not the next number of a stream: a backend that sees the most likely tokens alone draws what one that sees the whole
vocabulary draws, and no string's draw depends on the other strings.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.api.requests import SampleAnswer
from harness.tokens.tokenizer import Floats, Tokens

_MASK = (1 << 64) - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def draw(
    log_probs: Floats, allowed: Tokens, k: int, seed: int, top: int | None = None, *, first: int = 0
) -> SampleAnswer:
    """Draw ``k`` of the allowed tokens for each string.

    Args:
        log_probs: over the whole vocabulary, in nats, shape [n, V]; -inf is probability 0.
        allowed: ids that may be drawn, sorted, shape [A].
        k: tokens per string; cut to the number drawn among.
        seed: any integer.
        top: draw among so many of the most likely allowed tokens (of equally likely ones the lower ids); None: all.
        first: number of the first of these strings, where they are a stretch of a request's strings.

    Returns:
        tokens and their ``log_probs``, each [n, min(k, top, A)], in the order in which they were drawn.
    """
    values = np.asarray(log_probs, dtype=np.float64)[:, allowed]
    tokens = np.broadcast_to(allowed, values.shape)
    if top is not None and top < len(allowed):
        best = np.sort(np.argsort(-values, axis=1, kind="stable")[:, :top], axis=1)
        tokens, values = np.take_along_axis(tokens, best, 1), np.take_along_axis(values, best, 1)
    return draw_listed(tokens, values, k, seed, first=first)


def draw_listed(tokens: Tokens, log_probs: Floats, k: int, seed: int, *, first: int = 0) -> SampleAnswer:
    """Draw ``k`` of each string's listed tokens; the order of a list does not matter.

    Args:
        tokens: ids, none twice in a row of them, shape [n, m].
        log_probs: of these tokens under the whole distribution, in nats, shape [n, m].
        k, seed, first: as in `draw`.

    Returns:
        as `draw`, shapes [n, min(k, m)].
    """
    tokens, values = np.asarray(tokens, dtype=np.int64), np.asarray(log_probs, dtype=np.float64)
    strings = np.arange(first, first + len(tokens))
    keys = values + gumbel(seed, strings[:, None], tokens)
    chosen = np.lexsort((tokens, -keys), axis=1)[:, :k]  # the key decides, then the token id
    return SampleAnswer(np.take_along_axis(tokens, chosen, 1), np.take_along_axis(values, chosen, 1))


def gumbel(seed: int, strings: NDArray[np.int64], tokens: Tokens) -> Floats:
    """Standard Gumbel noise of each (string, token), broadcast against each other."""
    noise: Floats = -np.log(-np.log(uniform(seed, strings, tokens)))
    return noise


def uniform(seed: int, strings: NDArray[np.int64], places: NDArray[np.int64]) -> Floats:
    """A number inside (0, 1) for each (string, place), broadcast against each other; 52 bits of a hash."""
    with np.errstate(over="ignore"):  # whole numbers that wrap around, as they should
        start = _mixed(np.asarray(seed & _MASK, dtype=np.uint64) + _GOLDEN)
        start = _mixed(start ^ _mixed(np.asarray(strings).astype(np.uint64) + np.uint64(1)))
        bits = _mixed(start + (np.asarray(places).astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    inside: Floats = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return inside


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014, doi 10.1145/2660193.2660195)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed
