"""The defended victim: a model behind its guards, transforms and votes.

Attacks and judges reach the model through here and in no other way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from harness.api.model.backend import (
    Ability,
    Backend,
    CachingBackend,
    GradientItem,
    PerturbItem,
    RelaxedBackend,
    RelaxedItem,
    SampleItem,
    ScoreItem,
    class_logits,
    unsupported_request,
)
from harness.api.problem.problem import Problem
from harness.api.requests import (
    Classify,
    Generate,
    Gradient,
    GradientAnswer,
    Perturb,
    PerturbAnswer,
    RelaxedAnswer,
    RelaxedGradient,
    Sample,
    SampleAnswer,
    Score,
)
from harness.api.task import AnyBut
from harness.engine.defended.bare_victim import BareVictim, perturbable
from harness.engine.defended.goals import goal_of, joined_gradients, joined_perturbations, target_of, targets_of
from harness.engine.defended.guard_gradients import add_guard_gradients
from harness.engine.defended.layer import Layer, offers_gradient
from harness.engine.defended.pipeline import Pipeline
from harness.engine.defended.prompt_item import Names, PromptItem, prompt_items
from harness.engine.defended.reply import Reply
from harness.engine.losses import label_loss
from harness.engine.meter import StepMeter
from harness.errors import AccessError
from harness.flops import Flops, nominal_backward, nominal_forward
from harness.rng import named_seed
from harness.tokens.message import PLAIN, Conversation
from harness.tokens.tokenizer import Floats, Target

_Request = TypeVar("_Request")
Metered = tuple[Problem, _Request, StepMeter]
"""A request, the example that it is about, and the meter that its cost goes to."""


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
        bare = BareVictim(backend, answer_tokens, self.randomised, self._guards_answers)
        self.pipeline = Pipeline(self.layers, backend, bare.answer_prompts)

    @property
    def randomised(self) -> bool:
        """Whether equal prompts may be answered differently."""
        return any(layer.defense.randomised for layer in self.layers)

    @property
    def one_loss(self) -> bool:
        """Whether a prompt's loss is the same however often it is asked about, and is told whatever it is answered."""
        return not self.randomised and not self._guards_answers

    @cached_property
    def _guards_answers(self) -> bool:
        return any(layer.guards_answers for layer in self.layers)

    @property
    def abilities(self) -> frozenset[Ability]:
        """The requests that it answers; one with labels answers in text with their texts."""
        with_labels: frozenset[Ability] = frozenset({"generate", "classify"})
        return self.backend.abilities | (with_labels if self.labels else frozenset())

    def surrounded(self, conversation: Conversation, before: int | None = None) -> Conversation:
        """A conversation with the messages that defenses put around it, as the model reads it; of the first ``before``
        layers alone, where that is given. Raises PluginError.
        """
        for layer in self.layers[:before]:
            conversation = layer.surrounded(conversation, self.backend.tokenizer)
        return conversation

    def begin(self, known: Sequence[Problem]) -> None:
        """A search begins, ``known`` being the examples it had asked about before it was stopped, in order."""
        if isinstance(self.backend, CachingBackend):
            self.backend.begin([problem.before for problem in known])

    def begin_step(self) -> None:
        """A step of a search begins."""
        if isinstance(self.backend, CachingBackend):
            self.backend.begin_step()

    # -- whole prompts -------------------------------------------------------------------------------------------------

    def ask(
        self,
        prompts: Sequence[str],
        targets: Sequence[Target] = (),
        names: Sequence[Names] = (),
        conversations: Sequence[Conversation] = (),
    ) -> list[Reply]:
        """Answer whole prompts, each tokenised again: with a label, or with the most likely text.

        Args:
            conversations: the messages around each prompt; none where the prompts are all that is said.
            targets: of answers in text, ids whose NLL is wanted as well, one per prompt; none where it is not.
            names: what the randomness of each prompt's treatment depends on.
        """
        aims: Sequence[Target | None] = targets or [None] * len(prompts)
        seeds = names or [("unnamed", i) for i in range(len(prompts))]
        around = conversations or [PLAIN] * len(prompts)
        return self.reply_to(
            [
                PromptItem(text, own, aim, conversation=others)
                for text, own, aim, others in zip(prompts, seeds, aims, around, strict=True)
            ]
        )

    def reply_to(self, items: Sequence[PromptItem]) -> list[Reply]:
        """A reply to each prompt. A guard sees the string that carries a perturbation.

        Raises:
            AccessError: a perturbed prompt that a defense rewrites, or whose model cannot be perturbed.
        """
        if any(item.latent is not None for item in items):
            self._check_perturbable()
        return self.pipeline.replies(items)

    def _metered_replies(
        self,
        requests: Sequence[Metered[_Request]],
        prompts: Callable[[Problem, _Request, Names], list[PromptItem]],
    ) -> list[list[Reply]]:
        """Replies to what attacks ask, every prompt of them a query.

        Args:
            prompts: those of a request, and what the randomness of their treatment is to depend on.
        """
        items = [prompts(problem, request, meter.next_names()) for problem, request, meter in requests]
        replies = iter(self.pipeline.replies([item for own in items for item in own]))
        found = [[next(replies) for _ in own] for own in items]
        for own, (_, _, meter) in zip(found, requests, strict=True):
            for reply in own:
                meter.add_cost(1, reply.victim, reply.defense)
        return found

    # -- requests of attacks and judges: their costs go to the meters --------------------------------------------------

    def score(self, requests: Sequence[Metered[Score]]) -> list[Floats]:
        """Losses of each request's candidates, shape [K] each: penalties of guards included, ``inf`` where blocked
        without one; of a randomised pipeline the mean over `draws` passes.
        """
        if self._guards_answers or any(layer.rewrites for layer in self.layers):
            return self._score_texts(requests)
        penalties = self._guard_penalties(requests)
        items = [  # what is blocked for good is not put to the victim
            ScoreItem(
                p.before, r.candidates[np.isfinite(own)], p.after, target_of(p, r), r.near, r.over, self._best(p, r)
            )
            for (p, r, _), own in zip(requests, penalties, strict=True)
        ]
        losses = []
        for (problem, request, meter), own, scored in zip(requests, penalties, self.backend.score(items), strict=True):
            tokens = len(problem.before) + request.candidates.shape[1] + len(problem.after)
            nominal = nominal_forward(self.backend.n_params, len(scored.losses) * tokens)
            meter.add_cost(len(request.candidates), Flops(nominal, scored.executed))
            goal = goal_of(problem, request)
            several = bool(self.backend.n_labels) and isinstance(goal, AnyBut)
            found = np.nan_to_num(label_loss(scored.logits, goal), nan=np.inf) if several else scored.losses
            if self.layers:
                own[np.isfinite(own)] += found
            losses.append(own if self.layers else found)
        return losses

    def _best(self, problem: Problem, request: Score) -> int | None:
        """How many of the lowest losses are wanted of the victim: all where its losses are not what is compared."""
        return None if self.layers or isinstance(goal_of(problem, request), AnyBut) else request.best

    def _guard_penalties(self, requests: Sequence[Metered[Score]]) -> list[Floats]:
        """What guards of prompts raise each candidate's loss by, ``inf`` where one blocks it; shape [K] each."""
        if not self.layers:
            return [np.zeros(len(request.candidates)) for _, request, _ in requests]
        prompts = [
            [
                PromptItem(text, one_pass=True, conversation=problem.conversation)
                for text in problem.prompts(request.candidates)
            ]
            for problem, request, _ in requests
        ]
        replies = iter(self.pipeline.guards_alone([item for own in prompts for item in own]))
        found = []
        for own, (_, _, meter) in zip(prompts, requests, strict=True):
            passed = [next(replies) for _ in own]
            for reply in passed:
                meter.defense += reply.defense
            penalties = [np.inf if reply.blocked_by is not None else reply.penalty for reply in passed]
            found.append(np.asarray(penalties, dtype=np.float64))
        return found

    def _score_texts(self, requests: Sequence[Metered[Score]]) -> list[Floats]:
        """By texts through the whole pipeline. All candidates of a request meet the same random draws, so that they
        can be compared.
        """

        def prompts(problem: Problem, request: Score, names: Names) -> list[PromptItem]:
            target = None if self.backend.n_labels else target_of(problem, request)
            return [
                PromptItem(
                    text,
                    (*names, "draw", draw),
                    target,
                    over=request.over,
                    one_pass=True,
                    conversation=problem.conversation,
                )
                for text in problem.prompts(request.candidates)
                for draw in range(self.draws)
            ]

        losses: list[Floats] = []
        for (problem, request, _), replies in zip(requests, self._metered_replies(requests, prompts), strict=True):
            goal = goal_of(problem, request)
            told = [np.inf if reply.too_long else reply.loss(goal) for reply in replies]
            own = np.asarray(told, dtype=np.float64)
            losses.append(np.where(np.isnan(own), np.inf, own).reshape(-1, self.draws).mean(axis=1))
        return losses

    def gradient(self, requests: Sequence[Metered[Gradient]]) -> list[GradientAnswer]:
        """One-hot gradients; through transforms and votes, those of the victim at the prompt as written
        (straight-through); of guards that offer one, the gradient of their penalty is added.

        Raises:
            AccessError: a layer offers no gradient.
        """
        self._check_gradient()
        guards = any(layer.defense.offers == "surrogate" for layer in self.layers)
        targets = [targets_of(problem, request, self.backend.n_labels) for problem, request, _ in requests]
        items = [
            GradientItem(
                p.before, r.tokens, p.after, target, p.allowed, len(p.allowed) if whole else _top(p, r), r.over
            )
            for (p, r, _), own in zip(requests, targets, strict=True)
            for whole in (guards or len(own) > 1,)
            for target in own
        ]
        results = iter(self.backend.gradient(items))
        answers = []
        for (problem, request, meter), own in zip(requests, targets, strict=True):
            found = [next(results) for _ in own]
            for result in found:
                meter.add_cost(1, self._both_ways(problem, request, result.executed))
            top = len(problem.allowed) if guards else _top(problem, request)
            answers.append(joined_gradients([result.answer for result in found], problem, top))
        return add_guard_gradients(self.pipeline, requests, answers) if guards else answers

    def perturb(self, requests: Sequence[Metered[Perturb]]) -> list[PerturbAnswer]:
        """Losses and gradients at perturbed activations. A guard has no say in it, as in gradients.

        Raises:
            AccessError: a layer that rewrites, or a model that runs elsewhere.
        """
        self._check_perturbable()
        targets = [targets_of(problem, request, self.backend.n_labels) for problem, request, _ in requests]
        items = [
            PerturbItem(p.before, r.tokens, p.after, target, r.layer, r.delta)
            for (p, r, _), own in zip(requests, targets, strict=True)
            for target in own
        ]
        return self._joined(requests, targets, iter(perturbable(self.backend).perturb(items)))

    def relaxed(self, requests: Sequence[Metered[RelaxedGradient]]) -> list[RelaxedAnswer]:
        """Losses and gradients of relaxed strings. A guard that only refuses has no say in it, as in gradients.

        Raises:
            AccessError: a layer that gives no gradient, rewrites, or has a penalty with a gradient of its own; or a
                model that reads no relaxed strings.
        """
        self._check_relaxed()
        backend = self.backend
        if "relaxed" not in backend.abilities or not isinstance(backend, RelaxedBackend):
            raise unsupported_request("relaxed", backend.abilities)
        targets = [targets_of(problem, request, backend.n_labels) for problem, request, _ in requests]
        items = [
            RelaxedItem(p.before, r.weights, p.after, target, p.allowed)
            for (p, r, _), own in zip(requests, targets, strict=True)
            for target in own
        ]
        return self._joined(requests, targets, iter(backend.relaxed(items)))

    def _joined(
        self, requests: Sequence[Metered[Any]], targets: Sequence[Sequence[Any]], results: Iterator[Any]
    ) -> list[Any]:
        """An answer for each request, of as many results in order as it has targets; each result is metered."""
        answers = []
        for (problem, request, meter), own in zip(requests, targets, strict=True):
            found = [next(results) for _ in own]
            for result in found:
                meter.add_cost(1, self._both_ways(problem, request, result.executed))
            answers.append(joined_perturbations([result.answer for result in found]))
        return answers

    def _both_ways(self, problem: Problem, request: Gradient | Perturb | RelaxedGradient, executed: float) -> Flops:
        """Compute of a forward and a backward pass over one string in its place."""
        length = len(request.weights if isinstance(request, RelaxedGradient) else request.tokens)
        tokens, n = len(problem.before) + length + len(problem.after), self.backend.n_params
        return Flops(nominal_forward(n, tokens) + nominal_backward(n, tokens), executed)

    def sample(self, requests: Sequence[Metered[Sample]]) -> list[SampleAnswer]:
        """Next tokens from the model's own distribution. A guard has no say in it: it refuses whole prompts, and these
        strings are unfinished ones.

        Raises:
            AccessError: a layer that rewrites, behind which no token of the prompt has a next one to ask for.
        """
        self._check_unrewritten(
            "a string has no next tokens to sample; use an attack that scores or generates, or let the attack sample "
            "from another model"
        )
        items = [SampleItem(p.before, r.strings, p.allowed, r.k, r.seed, r.top) for p, r, _ in requests]
        results = self.backend.sample(items)
        for (problem, request, meter), sampled in zip(requests, results, strict=True):
            count, width = request.strings.shape
            nominal = nominal_forward(self.backend.n_params, count * (len(problem.before) + width))
            meter.add_cost(count, Flops(nominal, sampled.executed))
        return [sampled.answer for sampled in results]

    def generate(self, requests: Sequence[Metered[Generate]]) -> list[list[str | None]]:
        """Answers to each request's prompts, None where a guard or the server refused (or where a victim with labels
        gets a prompt longer than its context), "" where there is neither an answer nor a refusal.

        Raises:
            VictimError: a prompt that leaves no room in the context.
        """

        def prompts(problem: Problem, request: Generate, names: Names) -> list[PromptItem]:
            if self.labels:
                return self._asked(problem, request, names)
            longest, temperature = request.max_tokens, request.temperature
            seeds = [named_seed("generate", request.seed, at) for at in range(len(request.prompts))]  # of each its own
            return [
                replace(item, max_tokens=longest, temperature=temperature, seed=seed)
                for item, seed in zip(self._asked(problem, request, names), seeds, strict=True)
            ]

        return [[self._said(reply) for reply in own] for own in self._metered_replies(requests, prompts)]

    def _asked(self, problem: Problem, request: Generate | Classify, names: Names) -> list[PromptItem]:
        takes_ids = getattr(self.backend, "takes_ids", True)
        return prompt_items(problem, request, names, self.backend.tokenizer if takes_ids else None)

    def _said(self, reply: Reply) -> str | None:
        if self.labels:
            return None if reply.label is None else self.labels[reply.label]
        if reply.state == "refused":
            return reply.text or None
        return "" if reply.missing else reply.text

    def classify(self, requests: Sequence[Metered[Classify]]) -> list[Floats]:
        """Label logits of each request's prompts, as `class_logits` gives them, NaN where there are none.

        Raises:
            AccessError: the model answers in text.
        """
        answers = []
        for replies in self._metered_replies(requests, self._asked):
            logits = np.full((len(replies), self.backend.n_labels), np.nan)
            for row, reply in enumerate(replies):
                if reply.logits is not None:
                    logits[row] = reply.logits
            answers.append(class_logits(self.backend, logits))
        return answers

    # -- what layers do not let through --------------------------------------------------------------------------------

    def _check_gradient(self) -> None:
        for layer in self.layers:
            if not offers_gradient(layer.defense):
                raise AccessError(
                    f"{layer.who}: offers no gradient (offers = 'none'); use an attack with access 'scores' or 'text'"
                )

    def _check_perturbable(self) -> None:
        self._check_unrewritten("it has no place to perturb; use an attack with access 'gradient', 'scores' or 'text'")
        perturbable(self.backend)

    def _check_relaxed(self) -> None:
        self._check_gradient()
        self._check_unrewritten(
            "a relaxed string is not a text and cannot go through it; use an attack that asks only about texts"
        )
        for layer in self.layers:
            if layer.defense.offers == "surrogate":
                raise AccessError(
                    f"{layer.who}: adds a penalty that is computed from texts, and a relaxed string is not a text; "
                    "use an attack that asks only about texts"
                )

    def _check_unrewritten(self, why: str) -> None:
        for layer in self.layers:
            if layer.rewrites:
                raise AccessError(f"{layer.who}: rewrites the prompt, so {why}")


def _top(problem: Problem, request: Gradient) -> int:
    return min(request.top, len(problem.allowed))
