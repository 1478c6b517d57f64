"""What a model's configuration says about sharing keys and values between rows: whether, and up to which length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_ATTENTION_LAYERS = {"full_attention", "sliding_attention", "chunked_attention", "attention"}


def why_not_packable(model: Any) -> str:
    """Why rows of this model cannot be packed as far as its configuration tells, or ""."""
    for _, kind in _length_dependent_rotary(model):
        return f"its rotary embedding ({kind}) depends on the length of the row"
    if getattr(model.config.get_text_config(), "alibi", False):
        return "its attention depends on distances (ALiBi)"
    return why_not_cacheable(model)


def why_not_cacheable(model: Any) -> str:
    """Why later tokens need more of the earlier ones than their keys and values, or ""."""
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ()
    others = sorted({kind for kind in kinds if kind not in _ATTENTION_LAYERS})
    if others:
        return f"it has layers of kind {', '.join(others)}"
    return "it carries a state from token to token" if getattr(model, "_is_stateful", False) else ""


def shortest_window(model: Any) -> int | None:
    """Tokens that an attention layer looks back at least; None where all look back to the beginning."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    windows = []
    for name, kind in (("sliding_window", "sliding_attention"), ("attention_chunk_size", "chunked_attention")):
        size = getattr(config, name, None)
        if isinstance(size, int) and size > 0 and (kinds is None or kind in kinds):
            windows.append(size)
    return min(windows, default=None)


def rotary_limit(model: Any) -> int | None:
    """Longest row in tokens up to which a token's rotary embedding does not depend on the row's length; None: any."""
    limits = []
    for parameters, _ in _length_dependent_rotary(model):
        stated = parameters.get("original_max_position_embeddings")
        context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        limits += [int(n) for n in (stated, context) if n]
    return min(limits, default=None)


def _length_dependent_rotary(model: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Parameters and kind of each rotary embedding of the model that depends on the length of the row."""
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    for parameters in (rope, *(value for value in rope.values() if isinstance(value, dict))):
        kind = str(parameters.get("rope_type", "default"))
        if "dynamic" in kind or kind == "longrope":
            yield parameters, kind
