"""Whether a cell's victim can be asked as task, defense and threat model have it: in messages, with a system prompt, or
with the beginning of the answer written by the attacker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.api.runtime_defense import ConversationDefense
from harness.api.task import Example, TaskData
from harness.errors import AccessError, DataError, VictimError, error_text
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.spec.cells import CellSpec
from harness.tokens.message import Conversation, Messages, begin_answer

_BEGINNING = "Sure"  # stands for an attack string with which the answer begins


def conversation_errors(cell: CellSpec, data: TaskData) -> Iterator[Exception]:
    """Why it cannot, one after the other: AccessError, DataError, VictimError."""
    around = [part for part in cell.runtime if isinstance(part.plugin, ConversationDefense)]
    yield from _position_errors(cell, data)
    if around and cell.static and cell.attack.plugin.access == "latent":
        yield AccessError(
            f"attack {cell.attack.name} perturbs activations at a place in the prompt that {around[0].label} moves, "
            "and does not know about it; leave out non_adaptive, or exclude it"
        )
    takes = cell.victim.plugin.takes_messages(data)
    if around and not takes:
        yield VictimError(
            f"defense {around[0].label} puts messages around the prompt, and {cell.victim.label} accepts none on this "
            "task: exclude it, name a chat model, or give its victim a template (huggingface: chat: ./TEMPLATE.jinja)"
        )
    if takes and (around or cell.threat.begins_answer or not data.plain):
        for messages in _kinds(cell, data.validation, around):
            try:
                cell.victim.plugin.check_messages(data, messages)
            except VictimError as error:
                why = f"defense {around[0].label}: " if around else ""
                yield VictimError(f"{why}{error_text(error)}")
                break


def _position_errors(cell: CellSpec, data: TaskData) -> Iterator[Exception]:
    attack, begins = cell.attack, cell.threat.begins_answer
    if begins and data.labels:
        yield DataError(
            f"threat model position: answer: {cell.task.label} is answered with labels, so there is no beginning of an "
            "answer to write; use a task answered in text, or exclude that combination"
        )
    if attack.plugin.begins_answer and not begins:
        elsewhere = [one for one in data.validation if one.attackable and not one.conversation.begins_answer]
        if elsewhere:
            yield AccessError(
                f"attack {attack.name} writes the beginning of the answer, and the threat model puts its string into "
                "the prompt; give it a threat model with position: answer, and exclude the others"
            )


def _kinds(cell: CellSpec, examples: Sequence[Example], around: Sequence[ResolvedPlugin]) -> list[Messages]:
    """One whole conversation of each sequence of roles that the examples have."""
    found: dict[tuple[str, ...], Messages] = {}
    for example in examples:
        conversation = example.conversation
        for part in around:
            conversation = _surrounded(part, conversation)
        text = example.text
        if cell.threat.begins_answer:
            conversation, begun = begin_answer(conversation, text)
            text = begun + _BEGINNING
        messages = conversation.messages(text)
        found.setdefault(tuple(message.role for message in messages), messages)
    return list(found.values())


def _surrounded(part: ResolvedPlugin, conversation: Conversation) -> Conversation:
    assert isinstance(part.plugin, ConversationDefense)
    return part.plugin.surround(conversation, None)
