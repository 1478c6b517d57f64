"""What ``harness`` and ``python -m harness`` call: runs one command and turns errors and Ctrl-C into an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

MISTAKE, BUG, INTERRUPTED = 2, 70, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status.

    0: done. 1: done, but something in it failed. 2: a mistake in what was asked, with a message that says which.
    70: a bug. 130: interrupted.
    """
    try:
        from harness.cli.app import run

        return run(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return _explain(error)


def _explain(error: Exception) -> int:
    from harness.errors import HarnessError

    if os.environ.get("HARNESS_TRACEBACK") == "1":
        import traceback

        traceback.print_exception(error)
    if isinstance(error, HarnessError):
        print(f"error: {error}", file=sys.stderr)
        return MISTAKE
    from harness.registry.plugin_problem import error_with_place

    print(f"error: {error_with_place(error)}", file=sys.stderr)
    print("This is a bug, in the harness or in the plugin whose file is named.", file=sys.stderr)
    if os.environ.get("HARNESS_TRACEBACK") != "1":
        print("Set HARNESS_TRACEBACK=1 to see the whole traceback.", file=sys.stderr)
    return BUG
