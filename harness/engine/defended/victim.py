"""The defended victim: a backend behind its guards, transforms and votes.

Attacks and judges reach the model through here and in no other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.api.defense import Defense
from harness.api.model.backend import (
    Ability,
    Backend,
    CachingBackend,
    GenerateItem,
    GradientItem,
    SampleItem,
    ScoreItem,
)
from harness.api.problem.problem import Problem
from harness.api.requests import Classify, Generate, Gradient, GradientAnswer, Sample, SampleAnswer, Score
from harness.api.runtime_defense import GuardDefense, RuntimeDefense, TransformDefense, VoteDefense
from harness.engine.defended.guard_gradients import add_surrogates
from harness.engine.defended.pipeline import Layer, Names, Pipeline, PromptItem
from harness.engine.defended.reply import Reply
from harness.engine.meter import StepMeter
from harness.engine.search.validation import candidate_array
from harness.errors import AccessError
from harness.flops import Flops, nominal_backward, nominal_forward
from harness.rng import named_seed
from harness.tokens.tokenizer import Floats, Target

__all__ = ["DefendedVictim", "Layer", "Reply", "candidate_array", "offers_gradient"]

_NOTHING = np.empty(0, dtype=np.int64)


class DefendedVictim:
    """A backend and the layers before it, in the order in which a prompt meets them.

    Attributes:
        labels: of the task, texts in index order; none where it is asked for answers in text.
        answer_tokens: longest answer in text.
        draws: passes through a randomised pipeline that a loss is the mean of.
    """

    def __init__(
        self,
        backend: Backend,
        layers: Sequence[Layer] = (),
        labels: Sequence[str] = (),
        answer_tokens: int = 64,
        draws: int = 1,
    ) -> None:
        self.backend = backend
        self.layers = tuple(layers)
        self.labels = tuple(labels)
        self.answer_tokens = answer_tokens
        self.draws = draws if any(layer.defense.loss_varies for layer in self.layers) else 1
        self.pipeline = Pipeline(self.layers, backend, self._say)

    @property
    def randomised(self) -> bool:
        """Whether equal prompts may be answered differently."""
        return any(layer.defense.randomised for layer in self.layers)

    @cached_property
    def rewrites(self) -> bool:
        """Whether the victim sees another prompt than was written."""
        return any(isinstance(layer.defense, TransformDefense | VoteDefense) for layer in self.layers)

    @cached_property
    def _guards_answers(self) -> bool:
        return any(isinstance(layer.defense, GuardDefense) and layer.defense.reads == "answer" for layer in self.layers)

    @property
    def abilities(self) -> frozenset[Ability]:
        """The requests that it answers; one with labels answers in text with their texts."""
        with_labels: frozenset[Ability] = frozenset({"generate", "classify"})
        return self.backend.abilities | (with_labels if self.labels else frozenset())

    def begin(self, known: Sequence[Problem]) -> None:
        """A search begins, ``known`` being the examples it had asked about before it was stopped, in order."""
        if isinstance(self.backend, CachingBackend):
            self.backend.begin([problem.before for problem in known])

    def begin_step(self) -> None:
        """A step of a search begins."""
        if isinstance(self.backend, CachingBackend):
            self.backend.begin_step()

    def ask(self, prompts: Sequence[str], targets: Sequence[Target] = (), names: Sequence[Names] = ()) -> list[Reply]:
        """Answer whole prompts, each tokenised anew: with a label, or with the most likely text.

        Args:
            targets: of answers in text, ids whose NLL is wanted as well, one per prompt; none where it is not.
            names: what the randomness of each prompt's treatment depends on.
        """
        aims: Sequence[Target | None] = targets or [None] * len(prompts)
        seeds = names or [("unnamed", i) for i in range(len(prompts))]
        items = [PromptItem(text, own, aim) for text, own, aim in zip(prompts, seeds, aims, strict=True)]
        return self.pipeline.replies(items)

    def _say(self, items: Sequence[PromptItem]) -> list[Reply]:
        """What the bare victim says."""
        tokenizer = self.backend.tokenizer
        plain = [i for i, item in enumerate(items) if item.ids is None]
        ids = dict(zip(plain, tokenizer.encode([items[i].text for i in plain]), strict=True))
        rows = [
            np.asarray([*tokenizer.left, *(ids[i] if item.ids is None else item.ids), *tokenizer.right], dtype=np.int64)
            for i, item in enumerate(items)
        ]
        replies = [Reply(None, Flops(), Flops(), too_long=True) for _ in items]
        in_text = [i for i, item in enumerate(items) if item.in_text or not self.backend.n_labels]
        if len(in_text) < len(items):
            with_labels = sorted(set(range(len(items))) - set(in_text))
            fits = [i for i in with_labels if 0 < len(rows[i]) <= self.backend.context]
            logits, executed = self.backend.classify([rows[i] for i in fits])
            for k, i in enumerate(fits):
                spent = Flops(nominal_forward(self.backend.n_params, len(rows[i])), executed[k])
                own = None if np.isnan(logits[k]).any() else logits[k]
                replies[i] = Reply(own, spent, Flops())
        room = self.backend.context - self.answer_tokens
        # An attack that asks for a text says how long it may be; the victim says where there is no room for it.
        fits = [i for i in in_text if items[i].max_tokens is not None or 0 < len(rows[i]) <= room]
        for i in fits:
            replies[i] = Reply(None, Flops(), Flops(), text="")
        spoken = [i for i in fits if not items[i].one_pass or self._guards_answers]
        asked = [self._spoken(items[i]) for i in spoken]
        for i, said in zip(spoken, self.backend.generate(asked) if asked else (), strict=True):
            tokens = said.prompt_tokens + said.new_tokens
            spent = Flops(nominal_forward(self.backend.n_params, tokens), said.executed)
            replies[i] = Reply(None, spent, Flops(), text=said.text)
        aimed = {i: (rows[i], aim) for i in fits if (aim := items[i].target) is not None}
        if aimed and "score" in self.backend.abilities:
            for i, nll, spent in self._likelihoods(aimed):
                replies[i] = replace(replies[i], nll=nll, victim=replies[i].victim + spent)
        return replies

    def _spoken(self, item: PromptItem) -> GenerateItem:
        longest = self.answer_tokens if item.max_tokens is None else item.max_tokens
        seed = item.seed if not item.temperature or not self.randomised else named_seed(*item.names, "answer")
        return GenerateItem(item.text, longest, item.temperature, seed, item.ids)

    def _likelihoods(self, rows: dict[int, tuple[NDArray[np.int64], Target]]) -> list[tuple[int, float, Flops]]:
        """The loss of a target after each whole row, and what it took."""
        items = [ScoreItem(_NOTHING, row[None], _NOTHING, target) for row, target in rows.values()]
        found = []
        for (i, (row, _)), scored in zip(rows.items(), self.backend.score(items), strict=True):
            spent = Flops(nominal_forward(self.backend.n_params, len(row)), scored.executed)
            found.append((i, float(scored.losses[0]), spent))
        return found

    def score(self, requests: Sequence[tuple[Problem, Score, StepMeter]]) -> list[Floats]:
        """Losses of each request's candidates, shape [K] each: penalties of guards included, ``inf`` where blocked
        without one; of a randomised pipeline the mean over `draws` passes. Costs go to the meters.
        """
        if self.rewrites or self._guards_answers:
            return self._score_texts(requests)
        penalties = self._penalties(requests) if self.layers else None
        items = [ScoreItem(p.before, r.candidates, p.after, p.target, r.near) for p, r, _ in requests]
        if penalties is not None:  # what is blocked for good is not put to the victim
            items = [
                replace(item, candidates=item.candidates[np.isfinite(own)])
                for item, own in zip(items, penalties, strict=True)
            ]
        results = self.backend.score(items)
        losses = []
        for i, ((problem, request, meter), item, scored) in enumerate(zip(requests, items, results, strict=True)):
            tokens = len(problem.before) + request.candidates.shape[1] + len(problem.after)
            meter.queries += len(request.candidates)
            meter.attack += Flops(
                nominal_forward(self.backend.n_params, len(item.candidates) * tokens), scored.executed
            )
            found = scored.losses
            if penalties is not None:
                found = penalties[i].copy()
                found[np.isfinite(penalties[i])] += scored.losses
            losses.append(found)
        return losses

    def _penalties(self, requests: Sequence[tuple[Problem, Score, StepMeter]]) -> list[Floats]:
        """What guards of prompts raise each candidate's loss by."""
        flat = [
            (i, PromptItem(text, one_pass=True))
            for i, (p, r, _) in enumerate(requests)
            for text in p.prompts(r.candidates)
        ]
        found = np.zeros(len(flat))
        for at in range(len(self.layers)):
            asked = np.flatnonzero(np.isfinite(found))
            for k, (ruling, cost) in zip(asked, self.pipeline.rulings(at, [flat[k][1] for k in asked]), strict=True):
                requests[flat[k][0]][2].defense += cost
                found[k] += ruling.charged
        ends = np.cumsum([len(r.candidates) for _, r, _ in requests])[:-1]
        return list(np.split(found, ends))

    def _score_texts(self, requests: Sequence[tuple[Problem, Score, StepMeter]]) -> list[Floats]:
        """By texts through the whole pipeline. All candidates of a request meet the same random draws, so that they
        can be compared.
        """
        items, owners = [], []
        for i, (problem, request, meter) in enumerate(requests):
            names = meter.next_names()
            target = None if self.backend.n_labels else problem.target
            for text in problem.prompts(request.candidates):
                for draw in range(self.draws):
                    items.append(PromptItem(text, (*names, "draw", draw), target, one_pass=True))
                    owners.append(i)
        losses = np.empty(len(items))
        for k, reply in enumerate(self.pipeline.replies(items)):
            problem, _, meter = requests[owners[k]]
            meter.queries += 1
            meter.attack += reply.victim
            meter.defense += reply.defense
            loss = reply.loss(problem.example.proxy_label)
            losses[k] = np.inf if reply.too_long or np.isnan(loss) else loss
        means = losses.reshape(-1, self.draws).mean(axis=1)
        return list(np.split(means, np.cumsum([len(r.candidates) for _, r, _ in requests])[:-1]))

    def gradient(self, requests: Sequence[tuple[Problem, Gradient, StepMeter]]) -> list[GradientAnswer]:
        """One-hot gradients; through transforms and votes, those of the victim at the prompt as written
        (straight-through); of guards that offer one, the gradient of their penalty is added.

        Raises:
            AccessError: a layer offers no gradient.
        """
        self.check_gradient()
        added = any(layer.defense.offers == "surrogate" for layer in self.layers)
        items = [
            GradientItem(
                p.before,
                r.tokens,
                p.after,
                p.target,
                p.allowed,
                len(p.allowed) if added else min(r.top, len(p.allowed)),
            )
            for p, r, _ in requests
        ]
        results = self.backend.gradient(items)
        for (problem, request, meter), result in zip(requests, results, strict=True):
            tokens = len(problem.before) + len(request.tokens) + len(problem.after)
            n = self.backend.n_params
            meter.queries += 1
            meter.attack += Flops(nominal_forward(n, tokens) + nominal_backward(n, tokens), result.executed)
        if added:
            return add_surrogates(self.pipeline, requests, [result.answer for result in results])
        return [result.answer for result in results]

    def sample(self, requests: Sequence[tuple[Problem, Sample, StepMeter]]) -> list[SampleAnswer]:
        """Next tokens from the model's own distribution. A guard has no say in it: it refuses whole prompts, and these
        strings are unfinished ones. Costs go to the meters.

        Raises:
            AccessError: a transform, behind which no token of the prompt has a next one that could be asked for.
        """
        for layer in self.layers:
            if isinstance(layer.defense, TransformDefense | VoteDefense):
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
            found = self._asked([(request.prompts, meter) for _, request, meter in requests])
            return [[None if reply.label is None else self.labels[reply.label] for reply in own] for own in found]
        items, owners = [], []
        for i, (_, request, meter) in enumerate(requests):
            names = meter.next_names()
            for at, prompt in enumerate(request.prompts):
                seed = named_seed("generate", request.seed, at)  # equal prompts get answers of their own
                items.append(
                    PromptItem(
                        prompt,
                        (*names, at),
                        max_tokens=request.max_tokens,
                        temperature=request.temperature,
                        seed=seed,
                    )
                )
                owners.append(i)
        answers: list[list[str | None]] = [[] for _ in requests]
        for i, reply in zip(owners, self.pipeline.replies(items), strict=True):
            meter = requests[i][2]
            meter.queries += 1
            meter.attack += reply.victim
            meter.defense += reply.defense
            answers[i].append(reply.text)
        return answers

    def classify(self, requests: Sequence[tuple[Problem, Classify, StepMeter]]) -> list[Floats]:
        """Label logits of each request's prompts, [prompts, labels] each, NaN where there are none. Costs go to the
        meters.

        Raises:
            AccessError: the model answers in text.
        """
        answers = []
        replies = self._asked([(request.prompts, meter) for _, request, meter in requests])
        for own in replies:
            logits = np.full((len(own), self.backend.n_labels), np.nan)
            for row, reply in enumerate(own):
                if reply.logits is not None:
                    logits[row] = reply.logits
            answers.append(logits)
        return answers

    def _asked(self, groups: Sequence[tuple[Sequence[str], StepMeter]]) -> list[list[Reply]]:
        """Replies to what attacks ask, every prompt met by draws of its own."""
        prompts, names, owners = [], [], []
        for i, (texts, meter) in enumerate(groups):
            base = meter.next_names()
            for at, text in enumerate(texts):
                prompts.append(text)
                names.append((*base, at))
                owners.append(i)
        found: list[list[Reply]] = [[] for _ in groups]
        for i, reply in zip(owners, self.ask(prompts, names=names), strict=True):
            meter = groups[i][1]
            meter.queries += 1
            meter.attack += reply.victim
            meter.defense += reply.defense
            found[i].append(reply)
        return found

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
    return not (isinstance(defense, RuntimeDefense) and defense.offers == "none")
