"""Base of synthetic tasks on pairs of pseudo-words."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import ClassVar, NamedTuple, Self

from pydantic import Field, PositiveInt, model_validator

from harness import Chunk, Edit, Example, Task, TaskData
from plugins.tasks._bases.prompts import ANSWER_PROMPT, instructions_block
from plugins.tasks._data.splits import Split, example_id
from plugins.tasks._words.pseudo_words import MAX_LETTERS, MIN_LETTERS, Syllables


class WordPair(NamedTuple):
    """Two words and the index of the right label."""

    first: str
    second: str
    label: int


class PairTask(Task):
    """Base of tasks about two words. Chunks: instructions, the pair, an empty chunk to overwrite, the answer prompt.

    The pairs of a split depend neither on its size nor on the other split, so a larger size keeps the examples of a
    smaller one.

    Attributes:
        labels: label texts in index order.
        content: the pair's chunk, with two ``{}``.
    """

    labels: ClassVar[tuple[str, str]]
    content: ClassVar[str]

    class Params(Task.Params):
        """Sizes, word lengths, prompt."""

        train_size: PositiveInt = Field(25_000, description="training examples")
        validation_size: PositiveInt = Field(25_000, description="validation examples")
        min_letters: int = Field(3, ge=MIN_LETTERS, le=MAX_LETTERS, description="letters of the shortest words")
        max_letters: int = Field(10, ge=MIN_LETTERS, le=MAX_LETTERS, description="letters of the longest words")
        syllables: Syllables = Field("any", description="open: consonant and vowel only, for very small models")
        seed: int = Field(0, description="seed of the words and of their order")
        instructions: str = Field("", description="first chunk; a blank line follows it unless it is empty")
        answer_prompt: str = Field(ANSWER_PROMPT, description="last chunk")

        @model_validator(mode="after")
        def _lengths_in_order(self) -> Self:
            if self.min_letters > self.max_letters:
                raise ValueError(
                    f"min_letters ({self.min_letters}) is above max_letters ({self.max_letters}): swap them"
                )
            return self

    def validation_count(self) -> int:
        """As many as asked for, or none at all."""
        return self.params.validation_size

    @abstractmethod
    def pairs(self, split: Split, size: int) -> Iterator[WordPair]:
        """At least ``size`` pairs; the same first ones for every size."""

    def load(self) -> TaskData:
        """Generate both splits.

        Raises:
            DataError: there are not enough words of the asked lengths.
        """
        return TaskData(
            labels=self.labels,
            train=self._examples("train", self.params.train_size),
            validation=self._examples("validation", self.params.validation_size),
            source={"generator": f"plugins.tasks.{self.name}"},
        )

    def rng(self, split: Split) -> random.Random:
        """Randomness of one split's pairs, the same in every process."""
        return random.Random(f"{self.name}/{self.params.seed}/{split}")

    def _examples(self, split: Split, size: int) -> list[Example]:
        instructions = Chunk(instructions_block(self.params.instructions))
        empty, answer = Chunk("", Edit.OVERWRITABLE), Chunk(self.params.answer_prompt)
        return [
            Example(
                id=example_id(split, i),
                chunks=(instructions, Chunk(self.content.format(pair.first, pair.second)), empty, answer),
                label=pair.label,
                proxy_label=1 - pair.label,
            )
            for i, pair in enumerate(islice(self.pairs(split, size), size))
        ]
