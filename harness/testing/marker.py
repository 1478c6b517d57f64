"""The decorator that turns a test function into one test per promise of a plugin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.api.plugin import Plugin


def conforms(
    plugin: type[Plugin] | str, params: dict[str, Any] | None = None, *, skip: Sequence[str] = (), examples: int = 24
) -> Any:
    """Mark a test function, whose `conformance` then runs one check of the plugin in each of several tests.

    Args:
        plugin: the class, or an installed plugin by ``name`` or ``kind/name``.
        params: of the plugin, as in a spec.
        skip: names of checks to leave out.
        examples: how many random cases a check tries.
    """
    import pytest  # only those who write tests have it

    # `pytest.mark.conforms(cls)` would take the class for what is to be marked.
    return pytest.mark.conforms.with_args(plugin, params, skip=tuple(skip), examples=examples)
