"""Perturbations of a text that people still read: letters swapped inside words, capitals, neighbouring characters."""

from __future__ import annotations

import re

import numpy as np

_WORD = re.compile(r"[^\W\d_]{4,}")  # with fewer letters there is nothing to swap between the first and the last


def augment(text: str, sigma: float, rng: np.random.Generator) -> str:
    """One draw of the three perturbations of Hughes et al. 2024 (arXiv 2412.03556), one after another.

    Args:
        sigma: strength from 0 to 1. A word's inner letters are scrambled with probability sigma^(1/2), an ASCII
            letter's case is changed with probability sigma^(1/2), a printable ASCII character moves to one of its two
            neighbours with probability sigma^3.

    Returns:
        as many characters as ``text`` has.
    """
    chance = sigma**0.5
    text = _WORD.sub(lambda m: scramble_letters(m[0], rng) if m[0].isalpha() and rng.random() < chance else m[0], text)
    text = "".join(c.swapcase() if c.isascii() and rng.random() < chance else c for c in text)
    return "".join(shift_character(c, rng) if rng.random() < sigma**3 else c for c in text)


def scramble_letters(word: str, rng: np.random.Generator) -> str:
    """The word with the letters between its first and its last in random order; at least two letters."""
    return word[0] + "".join(word[1:-1][i] for i in rng.permutation(len(word) - 2)) + word[-1]


def shift_character(character: str, rng: np.random.Generator) -> str:
    """The character before or after it in ASCII; itself where one of the two is not printable."""
    other = chr(max(ord(character) + (1 if rng.random() < 0.5 else -1), 0))
    return other if " " <= character <= "~" and " " <= other <= "~" else character
