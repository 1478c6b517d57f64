"""A toy language model with exact gradients, without torch: it predicts from a fading sum of the tokens' embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.api.model.backend import (
    Ability,
    Differentiated,
    Generated,
    GenerateItem,
    GradientItem,
    LatentAnswer,
    LatentItem,
    Perturbed,
    PerturbItem,
    Relaxed,
    RelaxedItem,
    Sampled,
    SampleItem,
    Scored,
    ScoreItem,
    unsupported_request,
)
from harness.api.model.mellowmax import Mellowmax
from harness.api.requests import GradientAnswer, PerturbAnswer
from harness.engine.losses import text_loss
from harness.engine.relaxed_strings import relaxed_answers
from harness.engine.sampling import draw
from harness.errors import VictimError
from harness.testing.toys.backend import toy_tokenizer
from harness.tokens.message import Prompt
from harness.tokens.prompts import encode_prompts
from harness.tokens.tokenizer import Floats, Tokenizer, Tokens

WIDTH, FADING, END = 6, 0.8, 0
MAX_ANSWER_TOKENS = 24  # so that checks of plugins that generate are quick


class ToyLanguageModel:
    """A toy language model: the logits of the next token are a linear map of the sum of the tokens' embeddings, each
    weighed by 0.8 to the power of its distance.

    Attributes:
        embedding: shape [V, 6].
        out: shape [6, V].
    """

    abilities: frozenset[Ability] = frozenset(
        {"score", "gradient", "mellowmax", "sample", "generate", "perturb", "relaxed"}
    )

    def __init__(self, tokenizer: Tokenizer | None = None, seed: int = 0, context: int = 8192) -> None:
        self.tokenizer = tokenizer or toy_tokenizer()
        rng = np.random.default_rng(seed)
        self.embedding: Floats = rng.normal(size=(self.tokenizer.vocabulary, WIDTH))
        self.out: Floats = rng.normal(size=(WIDTH, self.tokenizer.vocabulary))
        self.n_params: int | None = self.embedding.size + self.out.size
        self.n_params_non_embedding: int | None = 0
        self.n_labels = 0
        self.context = context

    def classify(self, rows: Sequence[Tokens]) -> tuple[Floats, list[float]]:
        """Not possible: raises AccessError."""
        raise unsupported_request("classify", self.abilities)

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        """Logits and losses of each item's candidates."""
        results = []
        for item in items:
            rows = [np.concatenate([item.before, row, item.after]) for row in item.candidates]
            losses = np.asarray(
                [self._slope(row, 0, 0, _ids(item.target), over=item.over)[0] for row in rows], dtype=np.float64
            )
            results.append(Scored(np.empty((len(rows), 0)), losses, float(sum(map(len, rows))) * self._per_token))
        return results

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        """The loss of each item's string, and the tokens with the most negative one-hot gradient at each position."""
        results = []
        for item in items:
            row = np.concatenate([item.before, item.tokens, item.after])
            loss, slope = self._slope(row, len(item.before), len(item.tokens), _ids(item.target), over=item.over)
            values = slope @ self.embedding[item.allowed].T
            order = np.argsort(values, axis=1, kind="stable")[:, : item.top]
            answer = GradientAnswer(loss, item.allowed[order], np.take_along_axis(values, order, 1))
            results.append(Differentiated(answer, 3 * len(row) * self._per_token))
        return results

    def sample(self, items: Sequence[SampleItem]) -> list[Sampled]:
        """Next tokens of each item's strings, drawn without replacement."""
        results = []
        for item in items:
            rows = [np.concatenate([item.before, string]) for string in item.strings]
            logs = np.asarray([_log_softmax(self._memory(row) @ self.out) for row in rows]).reshape(len(rows), -1)
            logs = logs if len(rows) else np.empty((0, self.tokenizer.vocabulary))
            answer = draw(logs, item.allowed, item.k, item.seed, item.top)
            results.append(Sampled(answer, float(sum(map(len, rows))) * self._per_token))
        return results

    def generate(self, items: Sequence[GenerateItem]) -> list[Generated]:
        """An answer in text to each item."""
        return [self._generate(self._row(i.asked), i.max_tokens, i.temperature, i.seed, top_p=i.top_p) for i in items]

    def perturb(self, items: Sequence[PerturbItem]) -> list[Perturbed]:
        """The loss under each item's perturbation of its embeddings, layer 0, and its gradient by them."""
        results = []
        for item in items:
            row = np.concatenate([item.before, item.tokens, item.after])
            delta, count = self._checked(item.delta, item.layer, len(item.tokens)), len(item.tokens)
            loss, slope = self._slope(row, len(item.before), count, _ids(item.target), delta)
            scale = float(np.linalg.norm(self.embedding[item.tokens], axis=1).mean())
            _, logs = self._reading(row, len(item.before), _ids(item.target), delta)
            wrong = int((logs.argmax(axis=1) != np.asarray(item.target)).sum())
            results.append(Perturbed(PerturbAnswer(loss, slope, scale), 3 * len(row) * self._per_token, wrong))
        return results

    def relaxed(self, items: Sequence[RelaxedItem]) -> list[Relaxed]:
        """The loss of each item's relaxed string, and its gradient by the weights."""
        table = self.embedding
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
            row, count = self._row(item.asked), len(item.latent.array)
            delta = self._checked(item.latent.array, item.latent.layer, count)
            scale = float(np.linalg.norm(self.embedding[row[item.start : item.start + count]], axis=1).mean())
            spent = len(row) * self._per_token
            if item.latent.beyond(item.radius, scale):
                results.append(LatentAnswer(np.empty(0), scale, spent, beyond=True))
                continue
            loss, _ = self._slope(row, item.start, count, _ids(item.target), delta)
            answer = self._generate(row, item.max_tokens, 0.0, 0, (item.start, delta))
            results.append(LatentAnswer(np.empty(0), scale, spent, loss, answer))
        return results

    def describe(self) -> dict[str, object]:
        """What the manifest says."""
        return {"head": "toy language model"}

    @property
    def _per_token(self) -> float:
        return 4.0 * self.embedding.size

    def _row(self, prompt: Prompt) -> Tokens:
        ids = [*self.tokenizer.left, *encode_prompts(self.tokenizer, [prompt])[0], *self.tokenizer.right]
        if len(ids) >= self.context:
            raise VictimError(f"the prompt has {len(ids)} tokens, the context is {self.context}")
        return np.asarray(ids, dtype=np.int64)

    def _memory(self, row: Tokens, perturbation: tuple[int, Floats] | None = None) -> Floats:
        """The fading sum after a row, [6]; with a perturbation, its first position and its rows."""
        embeddings = self.embedding[row]
        if perturbation is not None:
            start, delta = perturbation
            embeddings[start : start + len(delta)] += delta
        memory: Floats = (FADING ** np.arange(len(row))[::-1]) @ embeddings
        return memory

    def _slope(
        self,
        row: Tokens,
        start: int,
        count: int,
        target: tuple[int, ...],
        delta: Floats | None = None,
        over: Mellowmax | None = None,
    ) -> tuple[float, Floats]:
        """Loss of the target after a row, and its gradient by the embeddings of ``count`` tokens, [count, 6]."""
        weight, logs = self._reading(row, start, target, delta)
        at = np.arange(len(target)), np.asarray(target)
        chance = np.exp(logs)
        chance[at] -= 1.0
        loss = float(text_loss(logs[at], over))
        by_nll = np.full(len(target), 1.0) if over is None else np.exp(over.alpha * (-logs[at] - loss))
        slope: Floats = weight[:, start : start + count].T @ (by_nll[:, None] * (chance @ self.out.T)) / len(target)
        return loss, slope

    def _reading(self, row: Tokens, start: int, target: tuple[int, ...], delta: Floats | None) -> tuple[Floats, Floats]:
        """At each token of the target, the weights of the tokens before it, [T, L], and log-probabilities [T, V]."""
        whole = np.concatenate([row, np.asarray(target[:-1], dtype=np.int64)])
        embeddings = self.embedding[whole]
        if delta is not None:
            embeddings[start : start + len(delta)] += delta
        ends = np.arange(len(target))[:, None] + len(row) - 1
        age = ends - np.arange(len(whole))[None]
        weight = np.where(age >= 0, FADING ** np.maximum(age, 0), 0.0)
        return weight, _log_softmax(weight @ embeddings @ self.out)

    def _generate(
        self,
        row: Tokens,
        max_tokens: int,
        temperature: float,
        seed: int,
        perturbation: tuple[int, Floats] | None = None,
        *,
        top_p: float = 1.0,
    ) -> Generated:
        ids: list[int] = []
        vocabulary = np.arange(self.tokenizer.vocabulary)
        memory = self._memory(row, perturbation)
        while len(ids) < min(max_tokens, MAX_ANSWER_TOKENS) and len(row) + len(ids) < self.context:
            logits = memory @ self.out
            if temperature > 0:
                logs = _log_softmax(logits / temperature)
                drawn = draw(logs[None], _likeliest(vocabulary, logs, top_p), 1, seed, first=len(ids))
                token = int(drawn.tokens[0, 0])
            else:
                token = int(logits.argmax())
            ids.append(token)
            if token == END:
                break
            memory = FADING * memory + self.embedding[token]
        ended = bool(ids) and ids[-1] == END
        text = self.tokenizer.decode([ids[:-1] if ended else ids])[0]
        return Generated(text, ended, len(row), len(ids), (len(row) + len(ids)) * self._per_token)

    @staticmethod
    def _checked(delta: Floats | None, layer: int, count: int) -> Floats:
        if layer or (delta is not None and delta.shape != (count, WIDTH)):
            raise VictimError(f"the toy has layer 0 alone, of width {WIDTH}")
        return np.zeros((count, WIDTH)) if delta is None else delta


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    logs: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logs


def _likeliest(ids: Tokens, logs: Floats, top_p: float) -> Tokens:
    """The likeliest ids that have the probability ``top_p`` together, sorted."""
    order = np.argsort(-logs, kind="stable")
    before = np.cumsum(np.exp(logs[order])) - np.exp(logs[order])
    return np.sort(ids[order[before < top_p]])


def _ids(target: Any) -> tuple[int, ...]:
    if isinstance(target, int) or not target:
        raise VictimError("the toy language model answers in text: its target is the ids of one, at least one")
    return tuple(target)
