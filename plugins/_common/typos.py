"""Typos: characters swapped, left out, doubled or replaced."""

from __future__ import annotations

import numpy as np

PRINTABLE = "".join(map(chr, range(32, 127)))


def add_typos(text: str, share: float, rng: np.random.Generator) -> str:
    """A text of which a ``share`` of the characters (at least one) is swapped with the next one, left out, doubled or
    replaced by a random printable one.
    """
    characters = list(text)
    positions = rng.choice(len(text), size=max(1, int(share * len(text) + 0.5)), replace=False)
    for i in sorted(map(int, positions), reverse=True):  # backwards, so that earlier positions stay valid
        typo = int(rng.integers(4))
        if typo == 0 and i + 1 < len(characters):
            characters[i], characters[i + 1] = characters[i + 1], characters[i]
        elif typo == 1:
            del characters[i]
        elif typo == 2:
            characters.insert(i, characters[i])
        else:
            characters[i] = PRINTABLE[int(rng.integers(len(PRINTABLE)))]
    return "".join(characters)
