"""How a model says that a way of computing is not for it, so that another one is taken."""

from __future__ import annotations


class UnsupportedModelError(Exception):
    """This way of computing is not right for the model; the text says why, and another way remains."""


MODEL_ERRORS = (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What models raise themselves that cannot take a packed row, a cache or a hook."""


def reason_of(error: Exception) -> str:
    """Why, in one line: the text of an `UnsupportedModelError`, else the error's type and first line."""
    if isinstance(error, UnsupportedModelError):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
