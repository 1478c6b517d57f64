"""The columns of the examples table that show a reader the prompt, and where in it the attack string stands."""

from __future__ import annotations

from typing import Any

from harness.api.problem.problem import Problem
from harness.surrogates import replace_surrogates


def prompt_columns(problem: Problem) -> dict[str, Any]:
    """``messages`` and ``string_at`` of `harness.records.schema.EXAMPLES`."""
    example = problem.example
    conversation, text = example.conversation, example.text
    messages = [
        {"role": message.role, "content": replace_surrogates(message.content)}  # one character for one
        for message in conversation.messages(text)
    ]
    start, end = len(problem.before_text), len(text) - len(problem.after_text)
    return {"messages": messages, "string_at": {"message": len(conversation.before), "start": start, "end": end}}
