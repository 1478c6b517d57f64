"""A check of one promise, and its result: kept, not kept, or not made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from harness.testing.plugin_under_test import Subject

Status = Literal["ok", "failed", "skipped"]


class UnmetError(AssertionError):
    """A promise is not kept. Each part is a sentence or two: what was expected, what happened, how to fix it."""

    def __init__(self, expected: str, got: str, mend: str) -> None:
        super().__init__(f"expected: {expected}\ngot: {got}\nfix: {mend}")
        self.expected, self.got, self.mend = expected, got, mend


class NotApplicableError(Exception):
    """The promise is not one that this plugin makes; the message says why."""


@dataclass(frozen=True)
class Check:
    """One promise that a kind of plugin makes.

    Attributes:
        name: short, for lists: ``resumes``.
        promise: what is expected, in a sentence.
        run: raises `UnmetError` or `NotApplicableError`; any other exception is a promise broken as well.
        mend: where an exception says nothing better.
    """

    name: str
    promise: str
    run: Callable[[Subject], None]
    mend: str = "read the message; `HARNESS_TRACEBACK=1` (`harness check --verbose`) shows the whole traceback"


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        plugin: kind and name.
        check, promise: of the check.
        status: ``ok``, ``failed`` or ``skipped``.
        seconds: that the check took.
        expected, got, mend: of a failed one.
        note: why it was skipped.
    """

    plugin: str
    check: str
    promise: str
    status: Status
    seconds: float
    expected: str = ""
    got: str = ""
    mend: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)

    def __str__(self) -> str:
        head = f"{self.plugin}: {self.check}: {self.promise}"
        if self.status == "failed":
            return f"{head}\nexpected: {self.expected}\ngot: {self.got}\nfix: {self.mend}"
        return f"{head} ({self.note})" if self.note else head
