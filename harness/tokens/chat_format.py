"""How a model is talked to: its chat template, and what is set next to the messages. Imports no torch."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.errors import VictimError
from harness.tokens.chat_template import ChatTemplate
from harness.tokens.message import Message, Messages, Prompt, last_is_answer
from harness.tokens.reasoning import is_open, markers_in, split_reasoning

DEFAULT, NONE = "default", "none"
"""System prompts: whatever the template does by itself; none, also where the template would write one."""
DATE = datetime.date(2024, 7, 26)
"""Today, for templates that write it: the one that Llama 3's falls back on."""
SET_BY_US = frozenset(
    {"messages", "conversation", "conversations", "chat_template", "add_generation_prompt", "continue_final_message"}
    | {"return_assistant_tokens_mask", "tokenize", "strftime_now"}
)
"""What no template argument may be called."""
_PROBE, _OTHER_PROBE = "\ue0a5\ue0aa", "\ue0a6\ue0ab"  # private characters: stand for a message


@dataclass(frozen=True)
class ChatFormat:
    """A chat template with its settings.

    Attributes:
        system: the system prompt of conversations that have none of their own: a text, `DEFAULT` or `NONE`. With
            `NONE`, where the template writes one unasked, an empty one stands in its place.
        prefill: what each answer begins with.
        arguments: what else the template looks at, such as ``enable_thinking``.
        markers: around the model's reasoning; None: those that the template tells of, if any.
        date: today's, for templates that write it.
    """

    template: ChatTemplate
    system: str = DEFAULT
    prefill: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    markers: tuple[str, str] | None = None
    date: datetime.date = DATE

    def __post_init__(self) -> None:
        """Raise VictimError for an argument that is set by other means."""
        self.check_arguments(self.arguments)

    @staticmethod
    def check_arguments(arguments: Mapping[str, Any]) -> None:
        """Raise VictimError for a template argument that is set by other means."""
        if wrong := sorted(SET_BY_US & set(arguments)):
            raise VictimError(f"template_arguments: {', '.join(wrong)}: set by the harness; remove it")

    def identity(self) -> dict[str, Any]:
        """All that changes what the model reads, as JSON data."""
        found = {
            "template": self.template.hash,
            "system": self.system,
            "prefill": self.prefill,
            "arguments": dict(self.arguments),
            "reasoning": None if self.reasoning is None else list(self.reasoning),
        }
        return found | ({"date": self.date.isoformat()} if self.template.prints_date else {})

    def facts(self) -> dict[str, Any]:
        """The same for a reader of records: also ``system_text``, the system prompt of a conversation that brings none
        (None: there is none), and ``around``, all that the model reads before and behind one message of the user (None
        where the template does not take that alone, or does not write it once).
        """
        try:
            around = self.render(_PROBE).split(_PROBE)
        except VictimError:
            around = []
        return self.identity() | {"system_text": self.system_text, "around": around if len(around) == 2 else None}

    @cached_property
    def system_text(self) -> str | None:
        """The system prompt of a conversation that has none of its own, set here or by the template; None: none."""
        if self.system != DEFAULT:
            return None if self.system == NONE else self.system
        system, user = Message("system", _OTHER_PROBE), Message("user", _PROBE)
        try:
            before, shown, after = self._template.render((system, user), self.arguments).partition(_OTHER_PROBE)
            plain = self._template.render((user,), self.arguments)
        except VictimError:
            return None
        room = len(plain) - len(before) - len(after)
        if not shown or room <= 0 or not plain.startswith(before) or not plain.endswith(after):
            return None
        return plain[len(before) : len(before) + room]

    def conversation(self, prompt: Prompt) -> Messages:
        """The messages of a prompt, with the system prompt."""
        messages = (Message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
        if self.system == DEFAULT or any(message.role == "system" for message in messages):
            return messages
        if self.system == NONE:
            return (Message("system", ""), *messages) if self._adds_system else messages
        return (Message("system", self.system), *messages)

    def render(self, prompt: Prompt, data: Callable[[str], str] = str) -> str:
        """The text that the model reads.

        Args:
            data: applied to what the prompt's messages say, and to nothing that is set here.

        Raises:
            VictimError: the template does not take these messages.
        """
        given = (Message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
        if not given:
            raise VictimError("a conversation needs at least one message")
        messages = self.conversation(tuple(Message(message.role, data(message.content)) for message in given))
        if last_is_answer(messages):  # the prompt brings a beginning of its own
            return self._template.render(messages, self.arguments, go_on=True)
        if self.prefill:
            messages = (*messages, Message("assistant", self.prefill))
        return self._template.render(messages, self.arguments, go_on=bool(self.prefill))

    def complete(self, generated: str, prompt: Prompt = "") -> str:
        """A whole answer from what the model wrote after its beginning: that which is set here. What a conversation
        begins it with is no part of it: others have written it.
        """
        return generated if last_is_answer(prompt) else self.prefill + generated

    @cached_property
    def reasoning(self) -> tuple[str, str] | None:
        """The markers around the model's reasoning; None: it writes none."""
        return self.markers or markers_in(self.template.text)

    @cached_property
    def begun(self) -> bool:
        """Whether the text that the model reads ends within a block of reasoning."""
        return self.reasoning is not None and is_open(self._answer_begins, *self.reasoning)

    def split_reasoning(self, generated: str, prompt: Prompt = "") -> tuple[str, str | None]:
        """Reasoning and answer in what the model wrote; see `harness.tokens.reasoning.split_reasoning`.

        Args:
            prompt: that it was asked.
        """
        whole = self.complete(generated, prompt)
        if self.reasoning is None:
            return "", whole
        begun = is_open(prompt[-1].content, *self.reasoning) if last_is_answer(prompt) else self.begun  # type: ignore[union-attr]
        return split_reasoning(whole, *self.reasoning, begun=begun)

    def spaced(self, answer: str) -> str:
        """An answer's beginning, a target or a label, as the model writes it here: what the prefill says already left
        out, and with the space before it that the template puts there, whatever stands before it in a plain prompt.
        """
        text = answer.lstrip(" ")
        if self.prefill:
            start = self.prefill.strip()
            if start and text.startswith(start) and len(text) > len(start):
                return text[len(start) :].lstrip(" ") if self.prefill[-1].isspace() else text[len(start) :]
            return text if self.prefill[-1].isspace() else f" {text}"
        return self._space + text

    @cached_property
    def _template(self) -> ChatTemplate:
        return self.template.on(self.date)

    @cached_property
    def _adds_system(self) -> bool:
        """Whether the template writes a system prompt where there is none."""
        user = Message("user", _PROBE)
        try:
            empty = self._template.render((Message("system", ""), user), self.arguments)
        except VictimError:  # it takes none, so it writes none
            return False
        return self._template.render((user,), self.arguments).find(_PROBE) > empty.find(_PROBE)

    @cached_property
    def _answer_begins(self) -> str:
        """What stands behind the user's message, up to where the model goes on."""
        return self.render(_PROBE).rpartition(_PROBE)[2]

    @cached_property
    def _space(self) -> str:
        """White space that the template writes between the beginning of an answer and its text."""
        return self._around_answer[0]

    @cached_property
    def turn_end(self) -> str:
        """What the template writes behind an answer."""
        return self._around_answer[1]

    @cached_property
    def _around_answer(self) -> tuple[str, str]:
        user, answer = Message("user", "a"), Message("assistant", _PROBE)
        try:
            asked = self._template.render(self.conversation((user,)), self.arguments)
            whole = self._template.render_closed(self.conversation((user, answer)), self.arguments)
        except VictimError:  # a template for single questions
            return "", ""
        before, found, after = whole.partition(_PROBE)
        space = before.removeprefix(asked) if before.startswith(asked) else ""
        return (space if space.isspace() else ""), (after if found else "")
