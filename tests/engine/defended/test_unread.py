"""Replies say which guards could make nothing of what their model said, and records count them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from harness.api.runtime_defense import Case, GuardDefense, Ruling
from harness.engine.defended.layer import Layer
from harness.engine.defended.prompt_item import PromptItem
from harness.engine.defended.victim import DefendedVictim
from harness.run.cell.manifest import _false_positives
from harness.testing.toys.language_model import ToyLanguageModel


class Unsure(GuardDefense):
    """Cannot tell of some prompts, and refuses some."""

    name = "unsure"

    def __init__(self, unread: set[str], refused: set[str], reads: Any) -> None:
        super().__init__()
        self.unread, self.refused, self._reads = unread, refused, reads

    @property
    def reads(self) -> Any:
        return self._reads

    def ruling(self, case: Case) -> Any:
        yield from ()
        return Ruling(case.text in self.refused, unread=case.text in self.unread)


class Counted(Unsure):
    """The same, counted."""

    name = "counted"
    may_not_read = True


TEXTS = ("one", "two", "three", "four")
some = st.sets(st.sampled_from(TEXTS))


@settings(deadline=None, max_examples=30)
@given(some, some, some, some, st.sampled_from(["prompt", "answer"]), st.sampled_from(["prompt", "answer"]))
def test_each_guard_counts_what_reached_it(a: Any, b: Any, c: Any, d: Any, first: str, second: str) -> None:
    guards = [Counted(a, b, first), Counted(c, d, second)]
    victim = DefendedVictim(ToyLanguageModel(), [Layer(guard) for guard in guards], (), 8)
    replies = victim.reply_to([PromptItem(text, (text,)) for text in TEXTS])
    # Prompts come to their guards in order, answers to theirs from the victim outwards.
    order = [i for i in (0, 1) if guards[i].reads == "prompt"] + [i for i in (1, 0) if guards[i].reads == "answer"]
    left = set(TEXTS)
    for at in order:
        expected = {"reached": len(left), "blocked": len(left & guards[at].refused)}
        found = _false_positives(victim, at, replies)
        assert found == expected | {"unread": len(left & guards[at].unread)}
        left -= guards[at].refused


@pytest.mark.parametrize("reads", ["prompt", "answer"])
def test_of_a_guard_that_always_knows_nothing_is_said(reads: str) -> None:
    victim = DefendedVictim(ToyLanguageModel(), [Layer(Unsure({"one"}, set(), reads))], (), 8)
    replies = victim.reply_to([PromptItem(text, (text,)) for text in TEXTS])
    assert _false_positives(victim, 0, replies) == {"reached": 4, "blocked": 0}
