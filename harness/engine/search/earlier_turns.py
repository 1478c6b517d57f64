"""Turns of a conversation before the one with the attack string: played again for each verdict, so that the answers in
it are the victim's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.engine.defended.prompt_item import PromptItem
from harness.engine.defended.reply import Reply
from harness.engine.defended.victim import DefendedVictim
from harness.flops import Flops
from harness.tokens.message import Message, Messages


def turns_breach(state: State, problem: Problem) -> bool:
    """Whether a state's earlier turns break the threat model: more of them than it grants, a turn that is longer than
    the attack string may be or uses other tokens, or a string that is not in the user's last message.
    """
    around = problem.conversation
    if not state.earlier:
        return False
    if len(state.earlier) >= problem.turns or around.role != "user" or around.after:
        return True
    rows = problem.tokenizer.encode(state.earlier)
    return any(not 0 < len(row) <= problem.budget or not np.isin(row, problem.allowed).all() for row in rows)


@dataclass(frozen=True)
class Played:
    """What came of earlier turns.

    Attributes:
        said: the turns and the answers to them.
        ended: the reply at which the conversation ended before its last turn: it was blocked, refused by a server, or
            none; else None.
        victim, defense: compute.
    """

    said: Messages = ()
    ended: Reply | None = None
    victim: Flops = field(default_factory=Flops)
    defense: Flops = field(default_factory=Flops)


def play_turns(victim: DefendedVictim, prompts: Sequence[tuple[PromptItem, Sequence[str]]]) -> list[Played]:
    """The earlier turns of each prompt, those of a number asked together.

    Args:
        prompts: the last turn of each, and what the attacker says before it.
    """
    played = [Played() for _ in prompts]
    for turn in range(max((len(earlier) for _, earlier in prompts), default=0)):
        open_ones = [i for i, (_, earlier) in enumerate(prompts) if turn < len(earlier) and played[i].ended is None]
        items = [_turn(prompts[i][0], prompts[i][1][turn], played[i].said, turn) for i in open_ones]
        for i, item, reply in zip(open_ones, items, victim.reply_to(items), strict=True):
            played[i] = _with(played[i], item.text, reply)
    return played


def after_turns(prompt: PromptItem, played: Played) -> PromptItem:
    """The last turn, behind those before it."""
    around = prompt.conversation
    return replace(prompt, conversation=replace(around, before=(*around.before, *played.said)))


def _turn(last: PromptItem, text: str, said: Messages, turn: int) -> PromptItem:
    around = replace(last.conversation, before=(*last.conversation.before, *said))
    return PromptItem(text, (*last.names, "turn", turn), conversation=around)


def _with(played: Played, text: str, reply: Reply) -> Played:
    victim, defense = played.victim + reply.victim, played.defense + reply.defense
    if reply.text is None or reply.state != "answered" or reply.too_long:
        return Played(played.said, replace(reply, victim=victim, defense=defense), victim, defense)
    said = (*played.said, Message("user", text), Message("assistant", reply.text))
    return Played(said, None, victim, defense)
