"""A runtime defense as it stands before the victim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.api.defense import Defense
from harness.api.model.backend import Backend
from harness.api.runtime_defense import ConversationDefense, GuardDefense, RuntimeDefense, TransformDefense, VoteDefense
from harness.errors import PluginError
from harness.tokens.message import Conversation
from harness.tokens.prompts import own_system
from harness.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Layer:
    """A runtime defense with all that it needs.

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

    @property
    def rewrites(self) -> bool:
        """Whether what stands behind sees another prompt than was written."""
        return isinstance(self.defense, TransformDefense | VoteDefense)

    def surrounded(self, conversation: Conversation, tokenizer: Tokenizer) -> Conversation:
        """The conversation with the messages that the defense puts around it.

        Args:
            tokenizer: of the victim.

        Raises:
            PluginError: the defense returned what it may not.
        """
        if not isinstance(self.defense, ConversationDefense):
            return conversation
        made = self.defense.surround(conversation, own_system(tokenizer))
        if not isinstance(made, Conversation) or made.role != conversation.role:
            raise PluginError(
                f"{self.who}: surround() must return a Conversation whose message has the same role, "
                f"{conversation.role!r}"
            )
        return made

    @property
    def guards_answers(self) -> bool:
        """Whether it is a guard that looks at answers, not at prompts."""
        return isinstance(self.defense, GuardDefense) and self.defense.reads == "answer"


def offers_gradient(defense: Defense) -> bool:
    """Whether a gradient attack can be run through this defense."""
    return not (isinstance(defense, RuntimeDefense) and defense.offers == "none")
