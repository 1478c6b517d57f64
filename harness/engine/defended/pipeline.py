"""A prompt's way through guards, transforms and votes to the victim, and the answer's way back.

Each layer hands its prompts to what stands behind it and makes something of the replies, so that order matters as it is
written: a guard before a vote sees the prompt once, one behind it sees every copy. Nobody else decides which guard
blocks what, in which order, and at what cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.api.model.backend import Backend
from harness.api.runtime_defense import (
    Case,
    ConversationDefense,
    GuardDefense,
    Rewritten,
    Ruling,
    TransformDefense,
    VoteDefense,
)
from harness.engine.defended.defense_requests import run_defense
from harness.engine.defended.layer import Layer
from harness.engine.defended.prompt_item import PromptItem
from harness.engine.defended.reply import Reply
from harness.engine.defended.vote import combine_copies
from harness.errors import PluginError
from harness.flops import Flops

Victim = Callable[[Sequence[PromptItem]], list[Reply]]
"""What stands behind all layers."""


@dataclass(frozen=True)
class Pipeline:
    """The layers in the order in which a prompt meets them, and who answers behind them.

    Attributes:
        backend: the victim's model, which defenses may ask as well, and whose tokenizer they see.
        victim: answers what has come through.
    """

    layers: tuple[Layer, ...]
    backend: Backend
    victim: Victim

    def replies(self, items: Sequence[PromptItem], at: int = 0) -> list[Reply]:
        """What comes of each item from layer ``at`` on.

        Raises:
            PluginError: a defense raised, or returned what it may not.
        """
        if not items:
            return []
        if at == len(self.layers):
            return [
                replace(reply, penalty=item.penalty) if item.penalty else reply
                for item, reply in zip(items, self.victim([item.whole for item in items]), strict=True)
            ]
        layer = self.layers[at]
        items = [item.apart for item in items]
        if layer.guards_answers:
            return self._answers_guarded(items, at)
        if isinstance(layer.defense, GuardDefense):
            return self._prompts_guarded(items, at)
        if isinstance(layer.defense, TransformDefense):
            return self.rewritten_replies(items, at)
        if isinstance(layer.defense, VoteDefense):
            return self._voted(layer.defense, items, at)
        if isinstance(layer.defense, ConversationDefense):
            return self.replies([self._surrounded(layer, item) for item in items], at + 1)
        raise PluginError(f"{layer.who}: not a guard, transform, vote or conversation defense")

    def guards_alone(self, items: Sequence[PromptItem]) -> list[Reply]:
        """What the layers make of the items while nobody answers behind them: who blocked, penalty and cost."""
        return replace(self, victim=lambda passed: [Reply(None, Flops(), Flops())] * len(passed)).replies(items)

    def saw(self, at: int, reply: Reply) -> bool:
        """Whether the guard at ``at`` was asked, where this came of a prompt: others may have blocked it before, and
        guards of answers look at nothing else.
        """
        if reply.too_long:
            return False
        if reply.blocked_by is None:
            return reply.state == "answered" or not self.layers[at].guards_answers
        if self.layers[at].guards_answers:  # answers are met from the victim outwards
            return self.layers[reply.blocked_by].guards_answers and reply.blocked_by <= at
        return self.layers[reply.blocked_by].guards_answers or reply.blocked_by >= at

    def rulings(
        self, at: int, items: Sequence[PromptItem], answers: Sequence[str] | None = None
    ) -> list[tuple[Ruling, Flops]]:
        """What the guard at ``at`` makes of prompts, or of answers to them; with what that cost."""
        layer = self.layers[at]
        guard = layer.defense
        assert isinstance(guard, GuardDefense)
        texts = [item.text for item in items] if answers is None else list(answers)
        own = [guard.cost(text) for text in texts]
        if type(guard).ruling is GuardDefense.ruling:  # asks nobody: all texts in one call
            blocked = guard.blocks(texts, layer.fitted)
            return [(Ruling(bool(no)), cost) for no, cost in zip(blocked, own, strict=True)]
        cases = [self._case(at, item) for item in items]
        if answers is not None:
            cases = [replace(case, answer=answer) for case, answer in zip(cases, answers, strict=True)]
        found = run_defense(layer.who, guard.ruling, cases, self._models(layer))
        for ruling, _ in found:
            if not isinstance(ruling, Ruling):
                raise PluginError(f"{layer.who}: returned {type(ruling).__name__}; it must return a Ruling")
        return [(ruling, spent + cost) for (ruling, spent), cost in zip(found, own, strict=True)]

    def rewritten(self, items: Sequence[PromptItem], at: int) -> list[tuple[PromptItem, Flops]]:
        """What the transform, or one copy of the vote, at ``at`` makes of prompts; with what that cost."""
        layer = self.layers[at]
        defense = layer.defense
        own = [defense.cost(item.text) for item in items]
        if isinstance(defense, TransformDefense) and type(defense).rewrite is TransformDefense.rewrite:
            texts = defense.apply([item.text for item in items])  # asks nobody: all texts in one call
            return [
                (replace(item, text=text, ids=None), cost) for item, text, cost in zip(items, texts, own, strict=True)
            ]
        assert isinstance(defense, TransformDefense | VoteDefense)
        rewrite = defense.rewrite if isinstance(defense, TransformDefense) else defense.copy
        found = run_defense(layer.who, rewrite, [self._case(at, item) for item in items], self._models(layer))
        return [
            (_with_text(item, made, layer.who), spent + cost)
            for item, (made, spent), cost in zip(items, found, own, strict=True)
        ]

    def rewritten_replies(self, items: Sequence[PromptItem], at: int) -> list[Reply]:
        """What comes of each item by way of the transform, or of one copy of the vote, at ``at``."""
        made = self.rewritten(items, at)
        replies = self.replies([item for item, _ in made], at + 1)
        return [replace(reply, defense=reply.defense + cost) for reply, (_, cost) in zip(replies, made, strict=True)]

    def _prompts_guarded(self, items: Sequence[PromptItem], at: int) -> list[Reply]:
        ruled = self.rulings(at, items)
        passed = {
            i: replace(item, penalty=item.penalty + ruling.charged) if ruling.blocked else item
            for i, (item, (ruling, _)) in enumerate(zip(items, ruled, strict=True))
            if not ruling.blocked or _only_charged(item, ruling)
        }
        replies = dict(zip(passed, self.replies(list(passed.values()), at + 1), strict=True))
        found = [
            replace(replies[i], defense=replies[i].defense + cost)
            if i in passed
            else Reply(None, Flops(), cost, blocked_by=at)
            for i, (_, cost) in enumerate(ruled)
        ]
        return [_marked(reply, ruling, at) for reply, (ruling, _) in zip(found, ruled, strict=True)]

    def _answers_guarded(self, items: Sequence[PromptItem], at: int) -> list[Reply]:
        replies = self.replies(items, at + 1)
        answers = {
            i: reply.text for i, reply in enumerate(replies) if reply.text is not None and reply.state == "answered"
        }
        ruled = self.rulings(at, [items[i] for i in answers], list(answers.values()))
        for i, (ruling, cost) in zip(answers, ruled, strict=True):
            reply = replace(replies[i], defense=replies[i].defense + cost)
            if ruling.blocked and _only_charged(items[i], ruling):
                reply = replace(reply, penalty=reply.penalty + ruling.charged)
            elif ruling.blocked:
                reply = Reply(None, reply.victim, reply.defense, blocked_by=at, unread=reply.unread)
            replies[i] = _marked(reply, ruling, at)
        return replies

    def _voted(self, vote: VoteDefense, items: Sequence[PromptItem], at: int) -> list[Reply]:
        if all(item.one_pass for item in items):
            return self.rewritten_replies(items, at)
        n = vote.copies()
        copies = [
            replace(item, names=(*item.names, "copy", j), temperature=vote.temperature or item.temperature)
            for item in items
            for j in range(n)
        ]
        replies = self.rewritten_replies(copies, at)
        labels = bool(self.backend.n_labels)
        return [
            combine_copies(vote, item, replies[i * n : (i + 1) * n], labels=labels and not item.in_text)
            for i, item in enumerate(items)
        ]

    def _surrounded(self, layer: Layer, item: PromptItem) -> PromptItem:
        around = layer.surrounded(item.conversation, self.backend.tokenizer)
        return replace(item, conversation=around)

    def _case(self, at: int, item: PromptItem) -> Case:
        names, layer = (*item.names, "layer", at), self.layers[at]
        return Case(item.text, layer.fitted, self.backend.tokenizer, names, conversation=item.conversation)

    def _models(self, layer: Layer) -> dict[str, Backend]:
        return {"": self.backend, **layer.models}


def _only_charged(item: PromptItem, ruling: Ruling) -> bool:
    """Whether a blocked prompt goes on nevertheless: in a pass for a loss, which the penalty raises."""
    return item.one_pass and bool(np.isfinite(ruling.penalty))


def _marked(reply: Reply, ruling: Ruling, at: int) -> Reply:
    """The reply, with the guard's place where it could make nothing of what its model said."""
    return replace(reply, unread=(at, *reply.unread)) if ruling.unread else reply


def _with_text(item: PromptItem, made: object, who: str) -> PromptItem:
    """The item with the text, and the tokens if there are such, that a defense has made."""
    if not isinstance(made, str | Rewritten):
        raise PluginError(f"{who}: returned {type(made).__name__}; it must return a text or a Rewritten")
    whole = Rewritten(made) if isinstance(made, str) else made
    kept = whole.text == item.text and whole.ids is None  # then tokens chosen before it still stand
    return replace(item, text=whole.text, ids=item.ids if kept else whole.ids)
