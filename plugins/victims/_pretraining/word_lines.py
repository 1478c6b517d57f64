"""Text made by rule: lines about pseudo-words, which hold no labels of any task."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import Self

from pydantic import Field, PositiveInt, model_validator

from harness import Params
from plugins.tasks._words.pseudo_words import MAX_LETTERS, MIN_LETTERS, Syllables, stream_pseudo_words

VOCABULARY = 25_000  # words that lines are made of
MOST_WORDS = 5  # of a line


class WordLines(Params):
    """Lines of made-up words, such as a list and the same list again, backwards, or spelled out."""

    lines: PositiveInt = Field(20_000, description="how many lines")
    min_letters: int = Field(4, ge=MIN_LETTERS, le=MAX_LETTERS, description="letters of the shortest words")
    max_letters: int = Field(8, ge=MIN_LETTERS, le=MAX_LETTERS, description="letters of the longest words")
    syllables: Syllables = Field("any", description="open: consonant and vowel only, as the tasks have it")
    seed: int = Field(0, description="seed of the words and lines")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_letters > self.max_letters:
            raise ValueError(f"min_letters ({self.min_letters}) is above max_letters ({self.max_letters}): swap them")
        return self

    def texts(self) -> list[str]:
        """The lines; of words of training splits alone."""
        return list(islice(self._stream(), self.lines))

    def _stream(self) -> Iterator[str]:
        stream = stream_pseudo_words(self.seed, self.min_letters, self.max_letters, "train", self.syllables)
        vocabulary = list(islice(stream, VOCABULARY))
        rng = random.Random(f"word lines/{self.seed}")

        def below(count: int) -> int:
            return int(rng.random() * count)  # random() is the one method whose values Python promises to keep

        while True:
            words = [vocabulary[below(len(vocabulary))] for _ in range(2 + below(MOST_WORDS - 1))]
            listed = ", ".join(words)
            yield (
                f"Words: {listed}.",
                f"Words: {listed}. Again: {listed}.",
                f"Words: {listed}. Backwards: {', '.join(reversed(words))}.",
                f"Word: {words[0]}. Spelled: {'-'.join(words[0])}.",
                f"Words: {listed}. First: {words[0]}. Last: {words[-1]}.",
            )[below(5)]
