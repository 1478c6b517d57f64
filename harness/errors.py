"""Errors that a user can fix. Each says what is wrong, where, and how to put it right; the command line shows no
traceback for them. And what their messages are made of.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable

TRACEBACK_VARIABLE = "HARNESS_TRACEBACK"


def tracebacks_wanted() -> bool:
    """Whether ``--verbose`` was given, or ``HARNESS_TRACEBACK=1`` set."""
    return os.environ.get(TRACEBACK_VARIABLE) == "1"


class HarnessError(Exception):
    """Base of every error that is for the user to fix."""


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


def is_full_device(error: BaseException) -> bool:
    """Whether a device takes no more: full, beyond a quota or a limit, read-only or broken."""
    return isinstance(error, OSError) and error.errno in _FULL


def error_text(error: BaseException) -> str:
    """An error for people: its message where it is one of ours, what to do where a device is full, else its type as
    well.
    """
    if isinstance(error, OSError) and is_full_device(error):
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return (
            f"{where}{error.strerror}; make room, or write elsewhere, and run the command again: finished work is kept"
        )
    return str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"


def first_line(error: BaseException) -> str:
    """The first line of what a library says, cut short; its type where it says nothing."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text if len(text) <= 300 else text[:300] + "..."


_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: str) -> str:
    r"""A text of others as part of one line: line breaks, tabs and what drives a terminal are written out, ``\n``."""
    return _BREAKS.sub(lambda found: ascii(found[0])[1:-1], text)


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
