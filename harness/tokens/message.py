"""Messages of a conversation, and the prompts that they make up. Imports nothing of tokenizers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Message:
    """What one side of a conversation says.

    Attributes:
        role: whose it is: ``tool`` is the result of a tool that the assistant called.
    """

    role: Role
    content: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"a message has one of the roles {', '.join(ROLES)}, got {self.role!r}")


Messages = tuple[Message, ...]
Prompt = str | Messages
"""What a model is asked: the messages of a conversation, or a text, which is one message of the user."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages around one whose text may change.

    Attributes:
        before, after: the others, in order.
        role: of the message between them.
    """

    before: Messages = ()
    role: Role = "user"
    after: Messages = ()

    @property
    def plain(self) -> bool:
        """Whether there is nothing but one message of the user."""
        return self == PLAIN

    def messages(self, content: str) -> Messages:
        """The whole conversation with this text between the others."""
        if not content and self.begins_answer:  # nothing said yet: the answer begins as ever
            return self.before
        return (*self.before, Message(self.role, content), *self.after)

    def prompt(self, content: str) -> Prompt:
        """The same; of a single message of the user the text itself."""
        if self.plain:
            return content
        messages = self.messages(content)
        return messages[0].content if len(messages) == 1 and messages[0].role == "user" else messages

    @property
    def begins_answer(self) -> bool:
        """Whether the message that may change is the beginning of the answer: the last one, and the assistant's."""
        return self.role == "assistant" and not self.after

    def to_json(self) -> dict[str, Any]:
        """JSON data from which `from_json` makes the same."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Conversation:
        """Inverse of `to_json`."""
        before, after = (tuple(Message(**message) for message in data[side]) for side in ("before", "after"))
        return cls(before, data["role"], after)


PLAIN = Conversation()


def in_conversation(prompt: Prompt) -> tuple[Conversation, str]:
    """A prompt as the text that defenses look at and what stands around it: the last message that is neither the
    assistant's nor the system's, or else the last one.

    Raises:
        ValueError: no messages.
    """
    if isinstance(prompt, str):
        return PLAIN, prompt
    if not prompt:
        raise ValueError("a conversation needs at least one message")
    asked = [at for at, message in enumerate(prompt) if message.role in ("user", "tool")]
    at = asked[-1] if asked else len(prompt) - 1
    return Conversation(tuple(prompt[:at]), prompt[at].role, tuple(prompt[at + 1 :])), prompt[at].content


def last_is_answer(prompt: Prompt) -> bool:
    """Whether a conversation ends with a message of the assistant, which the model then goes on with."""
    return not isinstance(prompt, str) and bool(prompt) and prompt[-1].role == "assistant"


def begin_answer(conversation: Conversation, content: str) -> tuple[Conversation, str]:
    """A conversation, with this text between its messages, as one in which the beginning of the answer may change; and
    what that begins with already.
    """
    messages = conversation.messages(content)
    if last_is_answer(messages):
        return Conversation(messages[:-1], "assistant"), messages[-1].content
    return Conversation(messages, "assistant"), ""
