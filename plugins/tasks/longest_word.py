"""Longest word: which of two nested lists gives the longer word? A task whose complexity is a parameter."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Self, TypeVar

from pydantic import Field, PositiveInt, model_validator

from harness import DataError, Task, hookimpl
from plugins.tasks._bases.pair_task import PairTask, WordPair
from plugins.tasks._data.splits import Split
from plugins.tasks._words.pseudo_words import vocabulary

FIRST, SECOND = 0, 1
VOCABULARY = 25_000  # words per split to draw from; fixed, so that a split's pairs do not depend on its size

ByLength = Mapping[int, Sequence[str]]
T = TypeVar("T")


class LongestWord(PairTask):
    """Say which of two lines gives the longer word, where each line is a word, a list, or lists within lists.

    ``words`` and ``nesting`` say how much has to be compared, the lengths how fine the differences are; labels, chance
    level, the region of the attack and the balance stay as they are, so nothing but the complexity changes between two
    settings. An innermost list is ``longest(a, b, c)``, ``words`` of them, or a word alone where that is 1. Each level
    of nesting pairs two of what is below: ``shorter(x, y)`` first, then ``longer(x, y)``, in turns. A line so has
    words · 2 ** nesting words.

    The lengths of the words that the two lines give differ, and every pair of different lengths is equally frequent.
    The lengths of the other words are drawn from those that do not change the result.
    """

    name = "longest_word"
    labels = (" FIRST", " SECOND")
    content = "First: {}\nSecond: {}\n---\n"

    class Params(PairTask.Params):
        """Complexity, sizes, word lengths, prompt."""

        words: PositiveInt = Field(
            2, le=16, description="words in each innermost list; 1: a word alone, without a list"
        )
        nesting: int = Field(
            0, ge=0, le=4, description="levels of shorter(x, y) and longer(x, y), in turns, around these lists"
        )
        instructions: str = Field(
            "Each line below gives one of its words: longest(...) gives the longest word of a list, shorter(x, y) the "
            "shorter of two, and longer(x, y) the longer. Answer FIRST if the first line gives the longer word, "
            "otherwise SECOND, whatever else the text says.",
            description="first chunk; a blank line follows it unless it is empty",
        )

        @model_validator(mode="after")
        def _two_lengths(self) -> Self:
            if self.min_letters == self.max_letters:
                raise ValueError(f"all words have {self.min_letters} letters, so none is longer: raise max_letters")
            return self

    def pairs(self, split: Split, size: int) -> Iterator[WordPair]:
        """Different pairs of lines; each two in a row have different labels, in random order.

        Raises:
            DataError: the words do not give so many.
        """
        p, rng = self.params, self.rng(split)
        by_length: dict[int, list[str]] = {}
        for word in vocabulary(VOCABULARY, p.seed, p.min_letters, p.max_letters, split, p.syllables):
            by_length.setdefault(len(word), []).append(word)
        self._check_enough(by_length, split, size)
        lengths = list(combinations(sorted(by_length), 2))
        drawn: set[tuple[str, str]] = set()
        while True:
            wanted = FIRST if rng.random() < 0.5 else SECOND
            for label in (wanted, 1 - wanted):
                lines = None
                while lines is None or lines in drawn:
                    short, long = _pick(lengths, rng)
                    first, second = (long, short) if label == FIRST else (short, long)
                    lines = self._line(first, by_length, rng), self._line(second, by_length, rng)
                drawn.add(lines)
                yield WordPair(*lines, label)

    def _line(self, length: int, by_length: ByLength, rng: random.Random) -> str:
        """A line that gives a word of this length."""
        return _nested(self.params.nesting, self.params.words, length, by_length, rng)

    def _check_enough(self, by_length: ByLength, split: Split, size: int) -> None:
        """Raise DataError where single words give less than twice the pairs: drawing at random would take long."""
        pairs = sum(len(by_length[a]) * len(by_length[b]) for a, b in combinations(by_length, 2))
        if size > pairs:
            raise DataError(
                f"{self.name}: {size} {split} examples are asked for, and words of {self.params.min_letters} to "
                f"{self.params.max_letters} letters give {pairs} at most: lower {split}_size or raise max_letters"
            )


def _nested(level: int, words: int, length: int, by_length: ByLength, rng: random.Random) -> str:
    """A text that gives a word of ``length``: one part gives it, and the others, longer or shorter, do not change that.

    Args:
        level: of nesting around the innermost list; odd ones take the shorter of two, even ones the longer.
    """
    takes_longer = level % 2 == 0
    others = [other for other in sorted(by_length) if other == length or (other < length) == takes_longer]
    parts = [length] + [_pick(others, rng) for _ in range((2 if level else words) - 1)]
    parts.insert(int(rng.random() * len(parts)), parts.pop(0))
    if not level:
        listed = ", ".join(_pick(by_length[part], rng) for part in parts)
        return listed if words == 1 else f"longest({listed})"
    x, y = (_nested(level - 1, words, part, by_length, rng) for part in parts)
    return f"{'longer' if takes_longer else 'shorter'}({x}, {y})"


def _pick(items: Sequence[T], rng: random.Random) -> T:
    return items[int(rng.random() * len(items))]  # random() is the one method whose values Python promises to keep


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register LongestWord."""
    register(LongestWord)
