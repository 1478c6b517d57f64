"""The defended victim: a backend behind its guards and transforms.

Attacks and judges reach the model through here and in no other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.attack import Gradient, GradientAnswer, Score
from harness.defense import Defense, GuardDefense, TransformDefense
from harness.engine.backend import Backend, GradientItem, Remembering, ScoreItem
from harness.engine.loss import cross_entropy
from harness.engine.meter import StepMeter
from harness.errors import AccessError
from harness.flops import Flops, nominal_backward, nominal_forward
from harness.judge import Answer
from harness.problem import Problem
from harness.tokens.text import Floats


@dataclass(frozen=True)
class Layer:
    """A guard or a transform as it stands before the victim, with what `fit` gave."""

    defense: GuardDefense | TransformDefense
    fitted: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the defended victim said to one prompt, and the compute it took."""

    logits: Floats | None  # None when a guard blocked the prompt
    victim: Flops
    defense: Flops
    too_long: bool = False

    def answer(self, target: int) -> Answer:
        """For a judge; ``target`` is the proxy label, whose cross-entropy is the loss."""
        if self.logits is None:
            return Answer(None, (), float("inf"))
        return Answer(int(self.logits.argmax()), tuple(self.logits.tolist()), float(cross_entropy(self.logits, target)))


class DefendedVictim:
    """A backend and the layers before it, in the order in which a prompt meets them."""

    def __init__(self, backend: Backend, layers: Sequence[Layer] = ()) -> None:
        self.backend = backend
        self.layers = tuple(layers)

    def begin(self, known: Sequence[Problem]) -> None:
        """A search begins, ``known`` being the examples it had asked about before it was stopped, in order."""
        if isinstance(self.backend, Remembering):
            self.backend.begin([] if self.layers else [problem.before for problem in known])

    def ask(self, prompts: Sequence[str]) -> list[Reply]:
        """Answer whole prompts, each tokenised anew."""
        texts = list(prompts)
        costs = [Flops() for _ in texts]
        open_rows = list(range(len(texts)))  # prompts that no guard has refused yet
        for layer in self.layers:
            at_layer = [texts[i] for i in open_rows]
            for i in open_rows:
                costs[i] = costs[i] + layer.defense.cost(texts[i])
            if isinstance(layer.defense, TransformDefense):
                for i, text in zip(open_rows, layer.defense.apply(at_layer), strict=True):
                    texts[i] = text
            else:
                blocked = layer.defense.blocks(at_layer, layer.fitted)
                open_rows = [i for i, refused in zip(open_rows, blocked, strict=True) if not refused]
        tokenizer = self.backend.tokenizer
        rows = {
            i: np.asarray([*tokenizer.left, *ids, *tokenizer.right], dtype=np.int64)
            for i, ids in zip(open_rows, tokenizer.encode([texts[i] for i in open_rows]), strict=True)
        }
        fits = [i for i in open_rows if 0 < len(rows[i]) <= self.backend.context]
        logits, executed = self.backend.classify([rows[i] for i in fits])
        replies = [Reply(None, Flops(), cost) for cost in costs]
        for i in set(open_rows) - set(fits):
            replies[i] = Reply(None, Flops(), costs[i], too_long=True)
        for k, i in enumerate(fits):
            spent = Flops(nominal_forward(self.backend.n_params, len(rows[i])), executed[k])
            replies[i] = Reply(logits[k], spent, costs[i])
        return replies

    def score(self, requests: Sequence[tuple[Problem, Score, StepMeter]]) -> list[Floats]:
        """Losses of each request's candidates, shape [K] each, ``inf`` where blocked. Costs go to the meters."""
        if self.layers:
            return [self._score_texts(*request) for request in requests]
        items = [ScoreItem(p.before, r.candidates, p.after, p.example.proxy_label, r.near) for p, r, _ in requests]
        results = self.backend.score(items)
        for (problem, request, meter), scored in zip(requests, results, strict=True):
            tokens = len(problem.before) + request.candidates.shape[1] + len(problem.after)
            count = len(request.candidates)
            meter.queries += count
            meter.attack += Flops(nominal_forward(self.backend.n_params, count * tokens), scored.executed)
        return [scored.losses for scored in results]

    def _score_texts(self, problem: Problem, request: Score, meter: StepMeter) -> Floats:
        replies = self.ask(problem.prompts(request.candidates))
        for reply in replies:
            meter.attack += reply.victim
            meter.defense += reply.defense
        meter.queries += len(replies)
        target = problem.example.proxy_label
        return np.asarray([reply.answer(target).loss for reply in replies], dtype=np.float64)

    def gradient(self, requests: Sequence[tuple[Problem, Gradient, StepMeter]]) -> list[GradientAnswer]:
        """One-hot gradients; through a transform, those of the victim at the untransformed prompt (straight-through).

        Raises:
            AccessError: a transform offers no gradient.
        """
        self.check_gradient()
        items = [
            GradientItem(p.before, r.tokens, p.after, p.example.proxy_label, p.allowed, min(r.top, len(p.allowed)))
            for p, r, _ in requests
        ]
        results = self.backend.gradient(items)
        for (problem, request, meter), result in zip(requests, results, strict=True):
            tokens = len(problem.before) + len(request.tokens) + len(problem.after)
            n = self.backend.n_params
            meter.queries += 1
            meter.attack += Flops(nominal_forward(n, tokens) + nominal_backward(n, tokens), result.executed)
        return [result.answer for result in results]

    def check_gradient(self) -> None:
        """Raise AccessError when a layer lets no gradient through."""
        for layer in self.layers:
            if not offers_gradient(layer.defense):
                raise AccessError(
                    f"defense {layer.defense.name}: offers no gradient (offers = 'none'); "
                    "use an attack with access 'scores' or 'text'"
                )


def offers_gradient(defense: Defense) -> bool:
    """Whether a gradient attack can be run through this defense."""
    return not (isinstance(defense, TransformDefense) and defense.offers == "none")


def candidate_array(value: object) -> NDArray[np.int64]:
    """Candidates as int64 [K, S]; raises TypeError or ValueError on anything else."""
    array = np.asarray(value)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"candidates must be an integer array of shape [K, S], got {array.dtype} {list(array.shape)}")
    return array.astype(np.int64, copy=False)
