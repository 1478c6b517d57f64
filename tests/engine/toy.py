"""A victim small enough to reason about: a logistic regression on tokens with exact gradients, and a small BPE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from harness.attack import Attack, GradientAnswer
from harness.engine.backend import Differentiated, GradientItem, Scored, ScoreItem, WithoutText
from harness.engine.defended import DefendedVictim
from harness.engine.desk import Desk
from harness.engine.judging import Jury
from harness.engine.loss import cross_entropy
from harness.engine.search import Search
from harness.judge import Judge
from harness.task import Chunk, Edit, Example
from harness.threat import Access
from harness.tokens.hf import HFTokenizer
from plugins.judges.labels import WrongLabel

TEXT = [
    f"The {colour} {animal} {verb} over the {thing}."
    for colour in ("red", "blue", "brown")
    for animal in ("fox", "dog", "cat")
    for verb in ("jumps", "looks", "walks")
    for thing in ("fence", "house", "river")
]


def toy_tokenizer() -> HFTokenizer:
    """A byte-level BPE of 400 entries."""
    rust = tokenizers.Tokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    rust.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=400, initial_alphabet=sorted(alphabet), special_tokens=["<pad>"], show_progress=False
        ),
    )
    return HFTokenizer(rust)


class ToyBackend(WithoutText):
    """Two logits, each the sum over positions of a token's weight times a slowly falling position weight."""

    def __init__(self, tokenizer: HFTokenizer | None = None, seed: int = 0) -> None:
        self.tokenizer = tokenizer or toy_tokenizer()
        rng = np.random.default_rng(seed)
        self.weights = rng.normal(size=(self.tokenizer.vocabulary, 2))
        self.n_params = self.weights.size
        self.n_params_non_embedding = 0
        self.n_labels = 2
        self.context = 64
        self.calls: list[int] = []  # rows of each call

    def classify(self, rows: Sequence[np.ndarray]):
        self.calls.append(len(rows))
        logits = [self._positions(len(row)) @ self.weights[row] for row in rows]
        return np.asarray(logits).reshape(len(rows), 2), [float(4 * len(row)) for row in rows]

    def score(self, items: Sequence[ScoreItem]):
        results = []
        for item in items:
            rows = [np.concatenate([item.before, c, item.after]) for c in item.candidates]
            logits, executed = self.classify(rows)
            losses = np.asarray([cross_entropy(row, item.target) for row in logits])
            results.append(Scored(logits, losses, sum(executed)))
        return results

    def gradient(self, items: Sequence[GradientItem]):
        results = []
        for item in items:
            row = np.concatenate([item.before, item.tokens, item.after])
            (logits,), executed = self.classify([row])
            chance = np.exp(logits - logits.max())
            chance /= chance.sum()
            chance[item.target] -= 1.0
            at = self._positions(len(row))[len(item.before) : len(item.before) + len(item.tokens)]
            values = at[:, None] * (self.weights[item.allowed] @ chance)[None]
            order = np.argsort(values, axis=1, kind="stable")[:, : item.top]
            answer = GradientAnswer(
                cross_entropy(logits, item.target), item.allowed[order], np.take_along_axis(values, order, 1)
            )
            results.append(Differentiated(answer, 3 * executed[0]))
        return results

    def describe(self):
        return {"head": "toy"}

    @staticmethod
    def _positions(length: int) -> np.ndarray:
        return 1.0 / (1.0 + 0.1 * np.arange(length)[::-1])


def toy_examples(count: int = 6, edit: Edit = Edit.OVERWRITABLE) -> list[Example]:
    """Sentences with a changeable chunk in the middle."""
    inner = "" if edit is Edit.OVERWRITABLE else " over the old fence"
    return [
        Example(
            f"validation-{i:05d}",
            (Chunk(TEXT[i * 7 % len(TEXT)]), Chunk(inner, edit), Chunk("\n\nAnswer:")),
            label=i % 2,
            proxy_label=1 - i % 2,
        )
        for i in range(count)
    ]


def jury(victim: DefendedVictim, judge: Judge | None = None, **models: DefendedVictim) -> Jury:
    """A judge (by default one for labels) of what this victim says, with its models by role."""
    return Jury(judge or WrongLabel(), Desk(victim, models))


def searching(
    victim: DefendedVictim,
    attack: Attack,
    names: tuple[Any, ...] = (0, "cell"),
    granted: Access = "gradient",
    judge: Judge | None = None,
    models: dict[str, DefendedVictim] | None = None,
    **options: Any,
) -> Search:
    """A search for strings against this victim, judged where a judge is given."""
    seen = None if judge is None else jury(victim, judge)
    return Search(Desk(victim, models or {}), attack, names, granted, seen, **options)
