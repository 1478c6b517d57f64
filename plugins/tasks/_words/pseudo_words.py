"""Pronounceable pseudo-words built by rule: no list to download, and no word in both splits.

A word is a row of syllables, each onset + vowel or onset + vowel + coda. Between two vowels stand one or two
consonants, so a word can be taken apart in one way only and the rule never builds a word twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import islice, product
from math import prod
from typing import Literal

from harness import DataError
from plugins.tasks._data.splits import Split, split_by_hash

Syllables = Literal["any", "open"]

# g and an opening k are left out: with them the rule spells slurs
ONSETS = "bcdfhjlmnprstvwyz"
VOWELS = "aeiou"
CODAS = "bdklmnprst"
_SYLLABLES: dict[Syllables, tuple[tuple[str, ...], ...]] = {
    "any": ((ONSETS, VOWELS), (ONSETS, VOWELS, CODAS)),
    "open": ((ONSETS, VOWELS),),  # words of even length only; small models learn them in fewer steps
}
MIN_LETTERS, MAX_LETTERS = 3, 12  # two letters are too few to go round; beyond twelve nothing new is learnt


def pseudo_words(
    n: int, seed: int, min_letters: int, max_letters: int, split: Split = "train", syllables: Syllables = "any"
) -> list[str]:
    """The first ``n`` words of `stream_pseudo_words`.

    Raises:
        DataError: the rule gives fewer than ``n`` words of these lengths for the split.
    """
    words = list(vocabulary(n, seed, min_letters, max_letters, split, syllables))
    if len(words) < n:
        raise DataError(
            f"{n} {split} words of {min_letters} to {max_letters} letters are needed and the word rule gives "
            f"{len(words)}: raise max_letters (at most {MAX_LETTERS}), lower min_letters (at least {MIN_LETTERS}) or "
            "ask for fewer examples"
        )
    return words


def stream_pseudo_words(
    seed: int, min_letters: int, max_letters: int, split: Split, syllables: Syllables = "any"
) -> Iterator[str]:
    """Distinct words of one split, in an order that depends only on ``seed`` and the lengths.

    Lengths are equally frequent until the short ones are used up. Which split a word belongs to depends on the word
    alone, so the splits are disjoint for any two seeds.
    """
    rng = random.Random(f"words/{seed}")
    lengths = [length for length in range(min_letters, max_letters + 1) if _count(length, syllables)]
    shuffles = {length: _shuffle(_count(length, syllables), rng) for length in lengths}
    while shuffles:
        length = list(shuffles)[int(rng.random() * len(shuffles))]
        index = next(shuffles[length], None)
        if index is None:
            del shuffles[length]
            continue
        word = _spell(length, index, syllables)
        if split_by_hash(word) == split:
            yield word


@lru_cache(maxsize=8)
def vocabulary(
    n: int, seed: int, min_letters: int, max_letters: int, split: Split, syllables: Syllables
) -> tuple[str, ...]:
    """The first ``n`` words of `stream_pseudo_words`, or as many as there are; kept, since a process asks again."""
    return tuple(islice(stream_pseudo_words(seed, min_letters, max_letters, split, syllables), n))


def changed_word(word: str, split: Split, rng: random.Random) -> str:
    """Another word of the rule, of the same split and length, with letters replaced by others of their kind: in one
    word of two all of them, in the other from half to all but one, at places drawn at random.
    """
    alphabets = [_alphabet(word, place) for place in range(len(word))]
    least = (len(word) + 1) // 2
    while True:
        count = len(word) if rng.random() < 0.5 else least + int(rng.random() * (len(word) - least))
        letters = list(word)
        for place in sorted(range(len(word)), key=lambda _: rng.random())[:count]:
            others = alphabets[place].replace(word[place], "")
            letters[place] = others[int(rng.random() * len(others))]
        changed = "".join(letters)
        if split_by_hash(changed) == split:
            return changed


def _alphabet(word: str, place: int) -> str:
    """The letters that the rule allows there, next to the word's other letters."""
    if word[place] in VOWELS:
        return VOWELS
    return ONSETS if place + 1 < len(word) and word[place + 1] in VOWELS else CODAS


def _shuffle(count: int, rng: random.Random) -> Iterator[int]:
    """0..count-1 in random order without ever holding them all (Fisher-Yates on the entries touched)."""
    moved: dict[int, int] = {}
    for i in range(count):
        j = i + int(rng.random() * (count - i))  # random() is the one method whose values Python promises to keep
        yield moved.get(j, j)
        moved[j] = moved.pop(i, i)


@cache
def _syllables(alphabets: tuple[str, ...]) -> tuple[str, ...]:
    """Every syllable of one kind; the first letter changes fastest."""
    return tuple("".join(letters[::-1]) for letters in product(*alphabets[::-1]))


@cache
def _shapes(length: int, syllables: Syllables) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """Per way of filling ``length`` letters with syllables: which ones each of them may be."""
    if length == 0:
        return ((),)
    shapes: list[tuple[tuple[str, ...], ...]] = []
    for alphabets in _SYLLABLES[syllables]:
        if len(alphabets) <= length:
            shapes += [(_syllables(alphabets), *rest) for rest in _shapes(length - len(alphabets), syllables)]
    return tuple(shapes)


@cache
def _sizes(length: int, syllables: Syllables) -> tuple[tuple[int, tuple[tuple[str, ...], ...]], ...]:
    return tuple((prod(map(len, shape)), shape) for shape in _shapes(length, syllables))


def _count(length: int, syllables: Syllables) -> int:
    return sum(size for size, _ in _sizes(length, syllables))


def _spell(length: int, index: int, syllables: Syllables) -> str:
    """The word of this number: numbers below `_count` and words of this length correspond one to one."""
    for size, shape in _sizes(length, syllables):
        if index < size:
            word = ""
            for choices in shape:
                index, choice = divmod(index, len(choices))
                word += choices[choice]
            return word
        index -= size
    raise IndexError(index)
