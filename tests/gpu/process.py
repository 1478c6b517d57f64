"""Runs a part in a process of its own: an error of the card, a crash or a hang ends that part and no other."""

from __future__ import annotations

import importlib
import time
import traceback
from collections.abc import Callable, Collection
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from tests.gpu.parts import Part, Row, Setting, SkippedError

_GRACE = 60.0  # seconds beyond its limit that a part gets for the measurement it is at

Ending = tuple[str, str]
"""How a part ended (``done``, ``failed``, ``out of time``), and the traceback where it failed itself."""


def run_part(
    part: Part, setting: Setting, known: Collection[str], seen: Callable[[str, Row], None], grace: float = _GRACE
) -> Ending:
    """Make the measurements that are not ``known``; ``seen`` is told of each as soon as it is made."""
    context = get_context("spawn")  # nothing that has used a card may be forked
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, part, setting, frozenset(known)))
    process.start()
    theirs.close()
    latest = time.monotonic() + part.limit + grace
    try:
        while ours.poll(max(0.0, latest - time.monotonic())):
            message: Any = ours.recv()
            if isinstance(message[1], str):
                return message
            seen(*message)
        return "out of time", f"killed {grace:.0f} s after its limit of {part.limit:.0f} s"
    except EOFError:
        process.join()
        return "failed", f"its process ended with status {process.exitcode}"
    finally:
        process.join(5)
        process.kill()
        process.join()


def _work(pipe: Connection, part: Part, setting: Setting, known: Collection[str]) -> None:
    """In the process: send each row, and at last the ending."""
    began, failed = time.monotonic(), False
    try:
        for what, take in importlib.import_module(part.module).measure(setting):
            if what in known:
                continue
            if time.monotonic() - began > part.limit:
                pipe.send(("out of time", ""))
                return
            row = _taken(take)
            failed = failed or bool(row.traceback)
            pipe.send((what, row))
        pipe.send(("failed" if failed else "done", ""))
    except Exception:
        pipe.send(("failed", traceback.format_exc()))


def _taken(take: Callable[[], Row]) -> Row:
    """What a measurement found, or how it failed."""
    try:
        return take()
    except SkippedError as why:
        return Row(str(why), skipped=True)
    except Exception as error:
        line = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
        return Row(line, wrong=True, traceback=traceback.format_exc())
