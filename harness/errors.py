"""Errors a user can mend. Each says what is wrong, where, and how to put it right; the command line shows no traceback
for them. And what their messages are made of.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Base of every error that is the user's to mend."""


def error_text(error: BaseException) -> str:
    """An error for people: its message where it is one of ours, else its type as well."""
    return str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"


def first_line(error: BaseException) -> str:
    """The first line of what a library says, cut short; its type where it says nothing."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text if len(text) <= 300 else text[:300] + "..."


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """`` (did you mean 'x'?)``, to stand after a misspelt word in a message; "" where no known word is near."""
    names = {str(name).lower(): str(name) for name in known}
    near = difflib.get_close_matches(str(word)[:100].lower(), names, n=1)
    return f" (did you mean {names[near[0]]!r}?)" if near else ""


class SpecError(HarnessError):
    """A spec file that cannot be used: syntax, a field, a value."""


class PluginError(HarnessError):
    """A plugin that cannot be registered, found or parameterised."""


class DataError(HarnessError):
    """A dataset, table or record file that is missing or not of the stated form."""


class VictimError(HarnessError):
    """A model that cannot be loaded or does not do what the request needs."""


class RunError(HarnessError):
    """A run directory or artifact store that cannot be used."""


class AccessError(HarnessError):
    """An attack asked for more access than the threat model grants or the victim offers."""
