"""Exchanges the attention implementation of a model that is loaded, for good or for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EAGER = "eager"  # plain matrix products and softmax: what every other implementation is compared with


def switch_attention(model: Any, attention: str) -> bool:
    """Exchange the attention implementation; False where the model has no such."""
    if model.config._attn_implementation == attention:
        return True
    try:
        model.set_attn_implementation(attention)
    except (AttributeError, ImportError, NotImplementedError, ValueError):
        return False
    return bool(model.config._attn_implementation == attention)


@contextmanager
def attention_switched(model: Any, attention: str) -> Iterator[bool]:
    """Within, the model uses this attention implementation where it has it, else its own; afterwards as before.

    Yields:
        whether it has it.
    """
    before = str(model.config._attn_implementation)
    try:
        yield switch_attention(model, attention)
    finally:
        switch_attention(model, before)
