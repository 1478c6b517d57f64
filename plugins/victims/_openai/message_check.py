"""Whether a conversation can be put to a served model, found out before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import Messages, VictimError
from plugins.victims._chat_params import chat_format
from plugins.victims._openai.completions import usage_count
from plugins.victims._openai.http_client import JsonClient, Refusal, ServerConfig
from plugins.victims._openai.text_answers import CHAT_PATH, ChatSettings

_TOKENS = 16  # of an answer that is thrown away; some servers take no less


def check_rendered(params: Any, folder: Path, messages: Messages) -> None:
    """Raise VictimError where the chat template next to a tokenizer does not take these messages."""
    chat = chat_format(params.model, params, folder, params.reasoning)
    if chat is not None:
        chat.render(messages)


def check_served(config: ServerConfig, model: str, settings: ChatSettings, messages: Messages) -> None:
    """Ask a server that renders messages itself. One that goes on with a last message of the assistant counts fewer
    tokens in the prompt than where it is told to begin an answer behind it.

    Raises:
        VictimError: it refuses them, cannot be reached, or does not go on with a beginning of the answer.
    """
    body = {"model": model, **settings.body(messages)}
    begins = messages[-1].role == "assistant"
    bodies = [body]
    if begins:
        bodies.append(body | {"continue_final_message": False, "add_generation_prompt": True})
    with JsonClient(config) as client:
        answers = [_asked(client, one) for one in bodies]
    where = f"{config.base_url}: {model}"
    if isinstance(answers[0], Refusal) and not answers[0].error.at_limit:
        roles = ", ".join(message.role for message in messages)
        raise VictimError(f"{where}: refuses a conversation of {roles} ({answers[0]})")
    if begins:
        counts = [None if isinstance(one, Refusal) else usage_count(one, "prompt_tokens") for one in answers]
        if counts[0] is None or counts[0] == counts[1]:
            raise VictimError(
                f"{where}: does not continue a beginning of the answer (continue_final_message), judging by its count "
                "of tokens; use api: completions, or a server that does, such as vllm serve"
            )


def _asked(client: JsonClient, body: dict[str, Any]) -> dict[str, Any] | Refusal:
    (answer,) = client.post(CHAT_PATH, [body | {"max_tokens": _TOKENS}])
    if isinstance(answer, Refusal):  # newer servers call it otherwise
        (answer,) = client.post(CHAT_PATH, [body | {"max_completion_tokens": _TOKENS}])
    return answer
