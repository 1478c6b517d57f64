"""The parameter `reasoning` of victims: the markers around what a model writes before its answer."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field


def _two_markers(value: tuple[str, str]) -> tuple[str, str]:
    if not all(marker.strip() for marker in value) or value[0] == value[1]:
        raise ValueError('write two different markers, such as ["<think>", "</think>"]')
    return value


ReasoningMarkers = Annotated[tuple[str, str], AfterValidator(_two_markers)]


def reasoning_field() -> Any:
    """The parameter. It is part of the identity only where it is given: leave it out of `identity` where it is None."""
    return Field(
        None,
        description='markers around reasoning in answers in text, e.g. ["<think>", "</think>"]: what is between them '
        "is not part of an answer, and an answer that does not get beyond it does not count",
    )
