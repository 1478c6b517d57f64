"""The defended victim: a backend behind its guards and transforms.

Attacks and judges reach the model through here and in no other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.attack import Classify, Generate, Gradient, GradientAnswer, Sample, SampleAnswer, Score
from harness.defense import Defense, GuardDefense, TransformDefense
from harness.engine.backend import Ability, Backend, GenerateItem, GradientItem, Remembering, SampleItem, ScoreItem
from harness.engine.loss import cross_entropy
from harness.engine.meter import StepMeter
from harness.errors import AccessError
from harness.flops import Flops, nominal_backward, nominal_forward
from harness.judge import Answer
from harness.problem import Problem
from harness.rng import named_seed
from harness.tokens.text import Floats, Target

_NOTHING = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Layer:
    """A guard or a transform as it stands before the victim, with what `fit` gave."""

    defense: GuardDefense | TransformDefense
    fitted: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the defended victim said to one prompt, and the compute it took.

    Attributes:
        logits: one per label; None when a guard blocked the prompt, or where the answer is a text.
        text: the answer in text; None when a guard blocked the prompt, or where the answer is a label.
        nll: of an answer in text, mean NLL of the target text; NaN where the victim does not tell.
        too_long: the prompt, with the longest answer, does not fit the context.
    """

    logits: Floats | None
    victim: Flops
    defense: Flops
    too_long: bool = False
    text: str | None = None
    nll: float = float("nan")

    @property
    def label(self) -> int | None:
        """The label said, if one was."""
        return None if self.logits is None else int(self.logits.argmax())

    def answer(self, proxy_label: int) -> Answer:
        """For a judge; of an answer with a label, the loss is the cross-entropy of the proxy label."""
        if self.text is not None:
            return Answer(None, (), self.nll, self.text)
        if self.logits is None:
            return Answer(None, (), float("inf"))
        return Answer(self.label, tuple(self.logits.tolist()), float(cross_entropy(self.logits, proxy_label)))


class DefendedVictim:
    """A backend and the layers before it, in the order in which a prompt meets them.

    Attributes:
        labels: of the task, texts in index order; none where it is asked for answers in text.
        answer_tokens: longest answer in text.
    """

    def __init__(
        self, backend: Backend, layers: Sequence[Layer] = (), labels: Sequence[str] = (), answer_tokens: int = 64
    ) -> None:
        self.backend = backend
        self.layers = tuple(layers)
        self.labels = tuple(labels)
        self.answer_tokens = answer_tokens

    @property
    def abilities(self) -> frozenset[Ability]:
        """The requests that it answers; one with labels answers in text with their texts."""
        with_labels: frozenset[Ability] = frozenset({"generate", "classify"})
        return self.backend.abilities | (with_labels if self.labels else frozenset())

    def begin(self, known: Sequence[Problem]) -> None:
        """A search begins, ``known`` being the examples it had asked about before it was stopped, in order."""
        if isinstance(self.backend, Remembering):
            self.backend.begin([problem.before for problem in known])

    def begin_step(self) -> None:
        """A step of a search begins."""
        if isinstance(self.backend, Remembering):
            self.backend.begin_step()

    def ask(self, prompts: Sequence[str], targets: Sequence[Target] = ()) -> list[Reply]:
        """Answer whole prompts, each tokenised anew: with a label, or with the most likely text.

        Args:
            targets: of answers in text, ids whose NLL is wanted as well, one per prompt; none where it is not.
        """
        texts, open_rows, costs = self.through_layers(prompts)
        tokenizer = self.backend.tokenizer
        rows = {
            i: np.asarray([*tokenizer.left, *ids, *tokenizer.right], dtype=np.int64)
            for i, ids in zip(open_rows, tokenizer.encode([texts[i] for i in open_rows]), strict=True)
        }
        room = self.backend.context - (0 if self.backend.n_labels else self.answer_tokens)
        fits = [i for i in open_rows if 0 < len(rows[i]) <= room]
        replies = [Reply(None, Flops(), cost) for cost in costs]
        for i in set(open_rows) - set(fits):
            replies[i] = Reply(None, Flops(), costs[i], too_long=True)
        if self.backend.n_labels:
            logits, executed = self.backend.classify([rows[i] for i in fits])
            for k, i in enumerate(fits):
                spent = Flops(nominal_forward(self.backend.n_params, len(rows[i])), executed[k])
                own = None if np.isnan(logits[k]).any() else logits[k]
                replies[i] = Reply(own, spent, costs[i])
            return replies
        items = [GenerateItem(texts[i], self.answer_tokens) for i in fits]
        for i, said in zip(fits, self.backend.generate(items), strict=True):
            spent = Flops(nominal_forward(self.backend.n_params, said.prompt_tokens + said.new_tokens), said.executed)
            replies[i] = Reply(None, spent, costs[i], text=said.text)
        if targets and "score" in self.backend.abilities:
            for i, nll, spent in self._likelihoods({i: (rows[i], targets[i]) for i in fits}):
                replies[i] = replace(replies[i], nll=nll, victim=replies[i].victim + spent)
        return replies

    def _likelihoods(self, rows: dict[int, tuple[NDArray[np.int64], Target]]) -> list[tuple[int, float, Flops]]:
        """The loss of a target after each whole row, and what it took."""
        items = [ScoreItem(_NOTHING, row[None], _NOTHING, target) for row, target in rows.values()]
        found = []
        for (i, (row, _)), scored in zip(rows.items(), self.backend.score(items), strict=True):
            spent = Flops(nominal_forward(self.backend.n_params, len(row)), scored.executed)
            found.append((i, float(scored.losses[0]), spent))
        return found

    def score(self, requests: Sequence[tuple[Problem, Score, StepMeter]]) -> list[Floats]:
        """Losses of each request's candidates, shape [K] each, ``inf`` where blocked. Costs go to the meters."""
        if self.layers:
            return [self._score_texts(*request) for request in requests]
        items = [ScoreItem(p.before, r.candidates, p.after, p.target, r.near) for p, r, _ in requests]
        results = self.backend.score(items)
        for (problem, request, meter), scored in zip(requests, results, strict=True):
            tokens = len(problem.before) + request.candidates.shape[1] + len(problem.after)
            count = len(request.candidates)
            meter.queries += count
            meter.attack += Flops(nominal_forward(self.backend.n_params, count * tokens), scored.executed)
        return [scored.losses for scored in results]

    def _score_texts(self, problem: Problem, request: Score, meter: StepMeter) -> Floats:
        prompts = problem.prompts(request.candidates)
        meter.queries += len(prompts)
        if self.backend.n_labels:
            replies = self.ask(prompts)
            for reply in replies:
                meter.attack += reply.victim
                meter.defense += reply.defense
            proxy = problem.example.proxy_label
            return np.asarray([reply.answer(proxy).loss for reply in replies], dtype=np.float64)
        texts, open_rows, costs = self.through_layers(prompts)
        meter.defense += sum(costs, Flops())
        left, right = self.backend.tokenizer.left, self.backend.tokenizer.right
        encoded = self.backend.tokenizer.encode([texts[i] for i in open_rows])
        rows = {i: np.asarray([*left, *ids, *right]) for i, ids in zip(open_rows, encoded, strict=True)}
        room = self.backend.context - self.answer_tokens
        losses = np.full(len(prompts), np.inf)
        known = self._likelihoods({i: (row, problem.target) for i, row in rows.items() if 0 < len(row) <= room})
        for i, nll, spent in known:
            losses[i] = nll
            meter.attack += spent
        return losses

    def gradient(self, requests: Sequence[tuple[Problem, Gradient, StepMeter]]) -> list[GradientAnswer]:
        """One-hot gradients; through a transform, those of the victim at the untransformed prompt (straight-through).

        Raises:
            AccessError: a transform offers no gradient.
        """
        self.check_gradient()
        items = [
            GradientItem(p.before, r.tokens, p.after, p.target, p.allowed, min(r.top, len(p.allowed)))
            for p, r, _ in requests
        ]
        results = self.backend.gradient(items)
        for (problem, request, meter), result in zip(requests, results, strict=True):
            tokens = len(problem.before) + len(request.tokens) + len(problem.after)
            n = self.backend.n_params
            meter.queries += 1
            meter.attack += Flops(nominal_forward(n, tokens) + nominal_backward(n, tokens), result.executed)
        return [result.answer for result in results]

    def sample(self, requests: Sequence[tuple[Problem, Sample, StepMeter]]) -> list[SampleAnswer]:
        """Next tokens from the model's own distribution. A guard has no say in it: it refuses whole prompts, and these
        strings are unfinished ones. Costs go to the meters.

        Raises:
            AccessError: a transform, behind which no token of the prompt has a next one that could be asked for.
        """
        for layer in self.layers:
            if isinstance(layer.defense, TransformDefense):
                raise AccessError(
                    f"defense {layer.defense.name}: rewrites the prompt, so a string has no next tokens to sample; "
                    "use an attack that scores or generates, or let the attack sample from another model"
                )
        items = [SampleItem(p.before, r.strings, p.allowed, r.k, r.seed, r.top) for p, r, _ in requests]
        results = self.backend.sample(items)
        for (problem, request, meter), sampled in zip(requests, results, strict=True):
            count, width = request.strings.shape
            tokens = count * (len(problem.before) + width)
            meter.queries += count
            meter.attack += Flops(nominal_forward(self.backend.n_params, tokens), sampled.executed)
        return [sampled.answer for sampled in results]

    def generate(self, requests: Sequence[tuple[Problem, Generate, StepMeter]]) -> list[list[str | None]]:
        """Answers to each request's prompts, None where a guard refused (or where a victim with labels gets a prompt
        longer than its context). Costs go to the meters.

        Raises:
            VictimError: a prompt that leaves no room in the context.
        """
        if self.labels:
            said = [[reply.label for reply in self._asked(request.prompts, meter)] for _, request, meter in requests]
            return [[None if label is None else self.labels[label] for label in labels] for labels in said]
        prompts = [(prompt, i, at) for i, (_, r, _) in enumerate(requests) for at, prompt in enumerate(r.prompts)]
        texts, open_rows, costs = self.through_layers([prompt for prompt, _, _ in prompts])
        items = []
        for row in open_rows:
            _, i, at = prompts[row]
            request = requests[i][1]
            seed = named_seed("generate", request.seed, at)  # equal prompts get answers of their own
            items.append(GenerateItem(texts[row], request.max_tokens, request.temperature, seed))
        answers: list[list[str | None]] = [[None] * len(request.prompts) for _, request, _ in requests]
        for (_, i, _), cost in zip(prompts, costs, strict=True):
            requests[i][2].queries += 1
            requests[i][2].defense += cost
        for row, generated in zip(open_rows, self.backend.generate(items), strict=True):
            _, i, at = prompts[row]
            answers[i][at] = generated.text
            tokens = generated.prompt_tokens + generated.new_tokens
            requests[i][2].attack += Flops(nominal_forward(self.backend.n_params, tokens), generated.executed)
        return answers

    def classify(self, requests: Sequence[tuple[Problem, Classify, StepMeter]]) -> list[Floats]:
        """Label logits of each request's prompts, [prompts, labels] each, NaN where there are none. Costs go to the
        meters.

        Raises:
            AccessError: the model answers in text.
        """
        answers = []
        for _, request, meter in requests:
            logits = np.full((len(request.prompts), self.backend.n_labels), np.nan)
            for row, reply in enumerate(self._asked(request.prompts, meter)):
                if reply.logits is not None:
                    logits[row] = reply.logits
            answers.append(logits)
        return answers

    def _asked(self, prompts: Sequence[str], meter: StepMeter) -> list[Reply]:
        """Replies to what an attack asks."""
        replies = self.ask(prompts)
        meter.queries += len(replies)
        for reply in replies:
            meter.attack += reply.victim
            meter.defense += reply.defense
        return replies

    def through_layers(self, prompts: Sequence[str]) -> tuple[list[str], list[int], list[Flops]]:
        """Prompts as the victim gets to see them, the indices of those that no guard refused, and what it cost."""
        texts = list(prompts)
        costs = [Flops() for _ in texts]
        open_rows = list(range(len(texts)))
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
        return texts, open_rows, costs

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
