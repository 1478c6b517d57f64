"""The language model that next tokens of an attack string are drawn from."""

from __future__ import annotations

from harness import Auxiliary, PluginRef

SAMPLER = "sampler"
"""Its role."""
LEFT_OUT = "by default the victim itself if it is one, otherwise the small model of its family"


def sampling(sampler: PluginRef | None) -> dict[str, Auxiliary]:
    """It as `Attack.models` names it: with the victim's tokens, made ready with the task's texts if left out."""
    return {SAMPLER: Auxiliary(sampler, sees="text", same_tokens=True, samples=True)}
