"""A prompt's way through guards, transforms and votes to the victim, and the answer's way back.

Each part hands its texts to what stands behind it and makes something of the replies, so that order matters as it is
written: a guard before a vote sees the prompt once, one behind it sees every copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.api.model.backend import Backend
from harness.api.runtime_defense import (
    Case,
    GuardDefense,
    Rewritten,
    Ruling,
    RuntimeDefense,
    TransformDefense,
    VoteDefense,
)
from harness.engine.defended.model_queries import inquire
from harness.engine.defended.reply import Reply
from harness.errors import PluginError
from harness.flops import Flops
from harness.rng import named_rng
from harness.tokens.tokenizer import Floats, Target

Names = tuple[str | int, ...]


@dataclass(frozen=True)
class Layer:
    """A runtime defense as it stands before the victim.

    Attributes:
        fitted: what `fit` gave.
        models: its auxiliary models by role.
        same_tokens: whether these share the victim's tokens.
    """

    defense: RuntimeDefense
    fitted: dict[str, Any] = field(default_factory=dict)
    models: Mapping[str, Backend] = field(default_factory=dict)
    same_tokens: bool = True

    @property
    def who(self) -> str:
        """For messages."""
        return f"defense {self.defense.name}"


@dataclass(frozen=True)
class PromptItem:
    """A prompt on its way.

    Attributes:
        names: what the randomness of its treatment depends on.
        target: ids whose NLL is wanted as well, of an answer in text.
        ids: its tokens without special ones, where they are not simply the tokenizer's.
        max_tokens, temperature, seed: of an answer in text; ``max_tokens`` None is the victim's own.
        one_pass: for a loss: blocked prompts with a finite penalty go on, a vote draws one copy.
    """

    text: str
    names: Names = ()
    target: Target | None = None
    ids: tuple[int, ...] | None = None
    max_tokens: int | None = None
    temperature: float = 0.0
    seed: int = 0
    one_pass: bool = False

    @property
    def in_text(self) -> bool:
        """Whether a text is asked for, whatever the victim answers with by itself."""
        return self.max_tokens is not None


Terminal = Callable[[Sequence[PromptItem]], list[Reply]]


@dataclass(frozen=True)
class Pipeline:
    """The layers, in the order in which a prompt meets them, and the victim's tokenizer and answers behind them."""

    layers: tuple[Layer, ...]
    backend: Backend
    victim: Terminal

    def replies(self, items: Sequence[PromptItem], at: int = 0) -> list[Reply]:
        """What comes of each item from layer ``at`` on."""
        if not items:
            return []
        if at == len(self.layers):
            return self.victim(items)
        defense = self.layers[at].defense
        if isinstance(defense, GuardDefense):
            return self._guarded(defense, items, at)
        if isinstance(defense, TransformDefense):
            return self._transformed(defense, items, at)
        if isinstance(defense, VoteDefense):
            return self._voted(defense, items, at)
        raise PluginError(f"{self.layers[at].who}: is no guard, transform or vote")

    def rulings(
        self, at: int, items: Sequence[PromptItem], answers: Sequence[str] | None = None
    ) -> list[tuple[Ruling, Flops]]:
        """What the guard at ``at`` makes of prompts, or of answers to them; with what that cost."""
        layer = self.layers[at]
        defense = layer.defense
        assert isinstance(defense, GuardDefense)
        seen = [item.text for item in items] if answers is None else list(answers)
        own = [defense.cost(text) for text in seen]
        if type(defense).ruling is GuardDefense.ruling:  # asks nobody: all texts in one call
            blocked = defense.blocks(seen, layer.fitted)
            return [(Ruling(bool(no)), cost) for no, cost in zip(blocked, own, strict=True)]
        cases = [self._case(at, item) for item in items]
        if answers is not None:
            cases = [replace(case, answer=answer) for case, answer in zip(cases, answers, strict=True)]
        found = inquire(layer.who, [defense.ruling(case) for case in cases], self._models(layer))
        for ruling, _ in found:
            if not isinstance(ruling, Ruling):
                raise PluginError(f"{layer.who}: returned {type(ruling).__name__}; it must return a Ruling")
        return [(ruling, spent + cost) for (ruling, spent), cost in zip(found, own, strict=True)]

    def rewritten(self, at: int, items: Sequence[PromptItem]) -> list[tuple[PromptItem, Flops]]:
        """What the transform, or one copy of the vote, at ``at`` makes of prompts; with what that cost."""
        layer = self.layers[at]
        defense = layer.defense
        own = [defense.cost(item.text) for item in items]
        if isinstance(defense, TransformDefense):
            if type(defense).rewrite is TransformDefense.rewrite:
                texts = defense.apply([item.text for item in items])
                return [
                    (replace(item, text=text, ids=None), cost)
                    for item, text, cost in zip(items, texts, own, strict=True)
                ]
            asking = [defense.rewrite(self._case(at, item)) for item in items]
        else:
            assert isinstance(defense, VoteDefense)
            asking = [defense.copy(self._case(at, item)) for item in items]
        found = inquire(layer.who, asking, self._models(layer))
        out = []
        for item, (made, spent), cost in zip(items, found, own, strict=True):
            if not isinstance(made, str | Rewritten):
                raise PluginError(f"{layer.who}: returned {type(made).__name__}; it must return a text or a Rewritten")
            whole = Rewritten(made) if isinstance(made, str) else made
            kept = whole.text == item.text and whole.ids is None  # then tokens chosen before it still stand
            out.append((replace(item, text=whole.text, ids=item.ids if kept else whole.ids), spent + cost))
        return out

    def _guarded(self, guard: GuardDefense, items: Sequence[PromptItem], at: int) -> list[Reply]:
        if guard.reads == "answer":
            return self._answers_guarded(items, at)
        ruled = self.rulings(at, items)
        replies = [Reply(None, Flops(), cost, blocked_by=at) for _, cost in ruled]
        goes_on = [
            i
            for i, (ruling, _) in enumerate(ruled)
            if not ruling.blocked or (items[i].one_pass and np.isfinite(ruling.penalty))
        ]
        behind = self.replies([items[i] for i in goes_on], at + 1)
        for i, reply in zip(goes_on, behind, strict=True):
            ruling, cost = ruled[i]
            replies[i] = replace(reply, defense=reply.defense + cost, penalty=reply.penalty + ruling.charged)
        return replies

    def _answers_guarded(self, items: Sequence[PromptItem], at: int) -> list[Reply]:
        replies = self.replies(items, at + 1)
        said = [(i, reply.text) for i, reply in enumerate(replies) if reply.text is not None]
        ruled = self.rulings(at, [items[i] for i, _ in said], [text for _, text in said])
        for (i, _), (ruling, cost) in zip(said, ruled, strict=True):
            reply = replace(replies[i], defense=replies[i].defense + cost)
            if ruling.blocked and items[i].one_pass and np.isfinite(ruling.penalty):
                reply = replace(reply, penalty=reply.penalty + ruling.penalty)
            elif ruling.blocked:
                reply = Reply(None, reply.victim, reply.defense, blocked_by=at)
            replies[i] = reply
        return replies

    def _transformed(self, transform: TransformDefense, items: Sequence[PromptItem], at: int) -> list[Reply]:
        made = self.rewritten(at, items)
        behind = self.replies([item for item, _ in made], at + 1)
        return [replace(reply, defense=reply.defense + cost) for reply, (_, cost) in zip(behind, made, strict=True)]

    def _voted(self, vote: VoteDefense, items: Sequence[PromptItem], at: int) -> list[Reply]:
        if all(item.one_pass for item in items):
            return self.copied(items, at)
        n = vote.copies()
        flat = [
            replace(item, names=(*item.names, "copy", j), temperature=vote.temperature or item.temperature)
            for item in items
            for j in range(n)
        ]
        copied = self.copied(flat, at)
        return [
            combined(
                vote, item, copied[i * n : (i + 1) * n], at, labels=bool(self.backend.n_labels) and not item.in_text
            )
            for i, item in enumerate(items)
        ]

    def copied(self, items: Sequence[PromptItem], at: int) -> list[Reply]:
        """What comes of one copy of each item by the vote at ``at``."""
        made = self.rewritten(at, items)
        behind = self.replies([item for item, _ in made], at + 1)
        return [replace(reply, defense=reply.defense + cost) for reply, (_, cost) in zip(behind, made, strict=True)]

    def _case(self, at: int, item: PromptItem) -> Case:
        return Case(item.text, self.layers[at].fitted, self.backend.tokenizer, (*item.names, "layer", at))

    def _models(self, layer: Layer) -> dict[str, Backend]:
        return {"": self.backend, **layer.models}


def combined(vote: VoteDefense, item: PromptItem, copies: Sequence[Reply], at: int, *, labels: bool) -> Reply:
    """One reply from those of the copies. One copy's worth of the victim's compute is the victim's, the rest the
    defense's.
    """
    n = len(copies)
    total = sum((reply.victim for reply in copies), Flops())
    share = total * (1 / n)
    defense = sum((reply.defense for reply in copies), Flops()) + total * (1 - 1 / n)
    fits = [reply for reply in copies if not reply.too_long]
    if not fits:
        return Reply(None, share, defense, too_long=True)
    blocked = [reply for reply in fits if reply.logits is None and reply.text is None]
    by = blocked[0].blocked_by if blocked else None
    if labels:
        said = [reply.logits for reply in fits if reply.logits is not None]
        if len(blocked) >= len(said):
            return Reply(None, share, defense, blocked_by=by)
        logits = np.stack(said)
        return Reply(_shares(vote, item, logits), share, defense, copies=logits)
    chosen = fits[vote.choose([reply.text for reply in fits])]
    if chosen.text is None:
        return Reply(None, share, defense, blocked_by=by)
    known = [reply.nll for reply in fits if not np.isnan(reply.nll)]
    return Reply(None, share, defense, text=chosen.text, nll=float(np.mean(known)) if known else float("nan"))


def _shares(vote: VoteDefense, item: PromptItem, logits: Floats) -> Floats:
    """Log shares of the votes, [labels]; ties go to the higher mean probability, which counts for half a vote."""
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    if vote.temperature:
        flat = np.exp((logits - logits.max(axis=1, keepdims=True)) / vote.temperature)
        cut = np.cumsum(flat / flat.sum(axis=1, keepdims=True), axis=1)
        drawn = named_rng(*item.names, "labels").random(len(logits))[:, None]
        labels = np.minimum((drawn > cut).sum(axis=1), logits.shape[1] - 1)
    else:
        labels = logits.argmax(axis=1)
    counts = np.bincount(labels, minlength=logits.shape[1]) + 0.5 * chances.mean(axis=0)
    found: Floats = np.log(np.maximum(counts, 1e-300) / counts.sum())
    return found
