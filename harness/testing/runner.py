"""Running checks, each under a time limit; none stops the others."""

from __future__ import annotations

import ctypes
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

from harness.api.plugin import Kind, Plugin
from harness.errors import HarnessError, tracebacks_wanted
from harness.registry.plugin_problem import error_with_place
from harness.testing.checks import attacks, defenses, every_plugin, judges, submissions, tasks, victims
from harness.testing.plugin_under_test import Subject, subject_of
from harness.testing.results import Check, Finding, NotApplicableError, UnmetError

LIMIT = 120.0
"""Seconds that a check may take; of a victim or a trained defense, whose checks train, ten times that."""


def checks_for(kind: Kind, cls: type[Plugin]) -> tuple[Check, ...]:
    """The checks of a class of that kind, general ones first."""
    if kind == "defense":
        return (*every_plugin.CHECKS, *defenses.checks_of(cls))
    by_kind = {
        "task": (*tasks.CHECKS, *submissions.CHECKS),
        "victim": victims.CHECKS,
        "attack": attacks.CHECKS,
        "judge": (*judges.CHECKS, *submissions.CHECKS),
    }
    return (*every_plugin.CHECKS, *by_kind[kind])


def run_checks(subject: Subject) -> Iterator[Finding]:
    """The findings, one after the other."""
    for check in checks_for(subject.kind, subject.cls):
        yield run_check(check, subject)


def check_plugin(plugin: type[Plugin] | str, params: dict[str, Any] | None = None, **options: Any) -> list[Finding]:
    """All findings for a class, or for an installed plugin by name; see `subject_of`."""
    return list(run_checks(subject_of(plugin, params, **options)))


def run_check(check: Check, subject: Subject) -> Finding:
    """Run one check, under its time limit. Raises KeyboardInterrupt alone."""
    start = time.monotonic()
    limit = LIMIT * (10 if subject.kind in ("victim", "defense") else 1)
    error = _run_within(limit, check, subject)
    if isinstance(error, KeyboardInterrupt):
        raise error
    outcome: dict[str, Any] = {"status": "ok"}
    if isinstance(error, NotApplicableError):
        outcome = {"status": "skipped", "note": str(error)}
    elif isinstance(error, UnmetError):
        outcome = {"status": "failed", "expected": error.expected, "got": error.got, "mend": error.mend}
    elif error is not None:
        if tracebacks_wanted():
            traceback.print_exception(error)
        got = str(error) if isinstance(error, HarnessError) else error_with_place(error)
        if error.__cause__ is not None:
            got = f"{got} (from {error_with_place(error.__cause__)})"
        outcome = {"status": "failed", "expected": check.promise, "got": got, "mend": check.mend}
    return Finding(str(subject), check.name, check.promise, seconds=time.monotonic() - start, **outcome)


class _TooLongError(BaseException):
    pass


def _run_within(limit: float, check: Check, subject: Subject) -> BaseException | None:
    """What a check raised, or None; of a check that takes more than ``limit`` seconds, the error that says so."""
    outcome: list[BaseException | None] = []

    def work() -> None:
        try:
            check.run(subject)
        except BaseException as error:
            outcome.append(error)
        else:
            outcome.append(None)

    thread = threading.Thread(target=work, daemon=True, name=f"check {check.name}")
    thread.start()
    thread.join(limit)
    if outcome:
        return outcome[0]
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_TooLongError))
    return UnmetError(
        f"an end within {limit:g} s ({check.promise})",
        "it was still running",
        "look for a loop that waits for something that need not come, such as a string that survives tokenisation; "
        "or give smaller parameters",
    )
