"""Toy classifiers with exact gradients, without torch, and their tokenizer and examples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import decoders, models, pre_tokenizers, trainers

from harness.api.model.backend import (
    Ability,
    Differentiated,
    GradientItem,
    LatentAnswer,
    LatentItem,
    Perturbed,
    PerturbItem,
    Relaxed,
    RelaxedItem,
    Scored,
    ScoreItem,
    WithoutText,
)
from harness.api.requests import GradientAnswer, PerturbAnswer
from harness.api.task import Chunk, Edit, Example
from harness.engine.losses import cross_entropy
from harness.engine.relaxed_strings import relaxed_answers
from harness.errors import VictimError
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.tokenizer import Floats, Tokenizer, Tokens

SENTENCES = [
    f"The {colour} {animal} {verb} over the {thing}."
    for colour in ("red", "blue", "brown")
    for animal in ("fox", "dog", "cat")
    for verb in ("jumps", "looks", "walks")
    for thing in ("fence", "house", "river")
]


def toy_tokenizer() -> HFTokenizer:
    """A byte-level BPE of 400 entries, trained on the sentences of `toy_examples`."""
    return HFTokenizer(byte_bpe())


@cache
def byte_bpe() -> tokenizers.Tokenizer:
    """The tokenizer of `toy_tokenizer`, as an object of the library `tokenizers`."""
    rust = tokenizers.Tokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    rust.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(
            vocab_size=400, initial_alphabet=sorted(alphabet), special_tokens=["<pad>"], show_progress=False
        ),
    )
    return rust


def toy_examples(count: int = 6, edit: Edit = Edit.OVERWRITABLE, target: str = "") -> list[Example]:
    """Sentences with a chunk in the middle that an attacker may change.

    Args:
        edit: how it may be changed.
        target: beginning of the answer that the attacker wants, of examples answered in text; "": they have labels.
    """
    inner = "" if edit is Edit.OVERWRITABLE else " over the old fence"
    examples = []
    for i in range(count):
        chunks = (Chunk(SENTENCES[i * 7 % len(SENTENCES)]), Chunk(inner, edit), Chunk("\n\nAnswer:"))
        labels = {"target": target} if target else {"label": i % 2, "proxy_label": 1 - i % 2}
        examples.append(Example(f"validation-{i:05d}", chunks, **labels))
    return examples


class ToyBackend(WithoutText):
    """A toy classifier: each logit is the sum over positions of a token's weight times a slowly falling factor.

    Attributes:
        weights: shape [V, labels].
        calls: rows of each call of `classify` so far.
    """

    def __init__(self, tokenizer: Tokenizer | None = None, seed: int = 0, labels: int = 2, context: int = 64) -> None:
        self.tokenizer = tokenizer or toy_tokenizer()
        self.weights: Floats = np.random.default_rng(seed).normal(size=(self.tokenizer.vocabulary, labels))
        self.n_params: int | None = self.weights.size
        self.n_params_non_embedding: int | None = 0
        self.n_labels = labels
        self.context = context
        self.calls: list[int] = []

    def classify(self, rows: Sequence[NDArray[np.int64]]) -> tuple[Floats, list[float]]:
        """Label logits, shape [rows, labels], and the FLOPs of each row."""
        self.calls.append(len(rows))
        logits = [self._positions(len(row)) @ self.weights[row] for row in rows]
        return np.asarray(logits).reshape(len(rows), self.n_labels), [float(4 * len(row)) for row in rows]

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        """Logits and losses of each item's candidates."""
        results = []
        for item in items:
            rows = [np.concatenate([item.before, c, item.after]) for c in item.candidates]
            logits, executed = self.classify(rows)
            losses = np.asarray([cross_entropy(row, _label(item.target)) for row in logits])
            results.append(Scored(logits, losses, sum(executed)))
        return results

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        """The loss of each item's string, and the tokens with the most negative one-hot gradient at each position."""
        results = []
        for item in items:
            row = np.concatenate([item.before, item.tokens, item.after])
            (logits,), executed = self.classify([row])
            values = self._slope(item, len(row), logits) @ self.weights[item.allowed].T
            order = np.argsort(values, axis=1, kind="stable")[:, : item.top]
            loss = float(cross_entropy(logits, _label(item.target)))
            answer = GradientAnswer(loss, item.allowed[order], np.take_along_axis(values, order, 1))
            results.append(Differentiated(answer, 3 * executed[0]))
        return results

    def describe(self) -> dict[str, object]:
        """What the manifest says."""
        return {"head": "toy"}

    def _slope(self, item: GradientItem | PerturbItem, length: int, logits: Floats) -> Floats:
        """Gradient of the loss by the weights at each token of the string, [S, labels]."""
        chance = np.exp(logits - logits.max())
        chance /= chance.sum()
        chance[_label(item.target)] -= 1.0
        at = self._positions(length)[len(item.before) : len(item.before) + len(item.tokens)]
        slope: Floats = at[:, None] * chance[None]
        return slope

    @staticmethod
    def _positions(length: int) -> Floats:
        return np.asarray(1.0 / (1.0 + 0.1 * np.arange(length)[::-1]), dtype=np.float64)


class ToyLatent(ToyBackend):
    """`ToyBackend` with activations that can be perturbed: its token weights, layer 0, of width ``labels``."""

    abilities: frozenset[Ability] = frozenset({"score", "gradient", "perturb", "relaxed"})

    def perturb(self, items: Sequence[PerturbItem]) -> list[Perturbed]:
        """The loss under each item's perturbation, and its gradient by the activations."""
        results = []
        for item in items:
            row = np.concatenate([item.before, item.tokens, item.after])
            delta = np.zeros((len(item.tokens), self.n_labels)) if item.delta is None else item.delta
            logits, scale = self._perturbed_logits(row, len(item.before), delta, item.layer)
            loss = float(cross_entropy(logits, _label(item.target)))
            answer = PerturbAnswer(loss, self._slope(item, len(row), logits), scale)
            results.append(Perturbed(answer, 12.0 * len(row), int(logits.argmax() != item.target)))
        return results

    def relaxed(self, items: Sequence[RelaxedItem]) -> list[Relaxed]:
        """The loss of each item's relaxed string, and its gradient by the weights."""
        table = self.weights
        return relaxed_answers(
            items,
            self.perturb,
            lambda allowed, weights: weights @ table[allowed],
            lambda allowed, gradient: gradient @ table[allowed].T,
        )

    def answer_perturbed(self, items: Sequence[LatentItem]) -> list[LatentAnswer]:
        """The answer to each item's prompt under its perturbation."""
        results = []
        for item in items:
            row = np.asarray(
                [*self.tokenizer.left, *self.tokenizer.encode([item.prompt])[0], *self.tokenizer.right], dtype=np.int64
            )
            logits, scale = self._perturbed_logits(row, item.start, item.latent.array, item.latent.layer)
            beyond = item.latent.beyond(item.radius, scale)
            answer = np.empty(0) if beyond else logits
            results.append(LatentAnswer(answer, scale, 4.0 * len(row), beyond=beyond))
        return results

    def _perturbed_logits(self, row: Tokens, start: int, delta: Floats, layer: int) -> tuple[Floats, float]:
        if layer or delta.shape[1] != self.n_labels:
            raise VictimError(f"the toy has layer 0 alone, of width {self.n_labels}")
        weights = self.weights[row].copy()
        scale = float(np.linalg.norm(weights[start : start + len(delta)], axis=1).mean())
        weights[start : start + len(delta)] += delta
        return self._positions(len(row)) @ weights, scale


def _label(target: Any) -> int:
    if not isinstance(target, int):
        raise VictimError("the toy classifier answers with labels: its target is the index of one")
    return target
