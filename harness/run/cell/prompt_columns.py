"""The columns of the examples table that show a reader the prompt, and where in it the attack string stands."""

from __future__ import annotations

from typing import Any

from harness.api.problem.problem import Problem
from harness.surrogates import replace_surrogates
from harness.tokens.message import Conversation, Message


def prompt_columns(problem: Problem, read: Conversation) -> dict[str, Any]:
    """``messages`` and ``string_at`` of `harness.records.schema.EXAMPLES`.

    Args:
        read: the messages around that with the string, as the victim reads them.
    """
    original = problem.replaced
    text = problem.before_text + original + problem.after_text
    messages = [
        {"role": message.role, "content": replace_surrogates(message.content)}  # one character for one
        for message in (*read.before, Message(read.role, text), *read.after)
    ]
    start = len(problem.before_text)
    place = {"message": len(read.before), "start": start, "end": start + len(original)}
    return {"messages": messages, "string_at": place}
