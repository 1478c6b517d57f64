"""What a server says of a model in its list of models."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from harness import VictimError
from plugins.victims._openai.http_client import JsonClient, Refusal, ServerConfig

_FACTS = ("owned_by", "root", "max_model_len")  # what servers say that stays the same from one start to the next


@lru_cache(maxsize=64)
def model_facts(config: ServerConfig, model: str) -> tuple[tuple[str, Any], ...]:
    """What the server says of a model that stays the same, as pairs of name and value; requested once per process.

    Raises:
        VictimError: the server cannot be reached, or serves other models only.
    """
    with JsonClient(config) as client:
        answer = client.get("models")
    listed = None if isinstance(answer, Refusal) else answer.get("data")
    if not isinstance(listed, list):
        return ()  # not all servers list their models
    models = {str(entry.get("id")): entry for entry in listed if isinstance(entry, dict)}
    if models and model not in models:
        raise VictimError(f"{config.base_url}: serves {', '.join(sorted(models)[:10])}, not {model}")
    entry = models.get(model, {})
    return tuple((name, entry[name]) for name in _FACTS if isinstance(entry.get(name), str | int))
