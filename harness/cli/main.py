"""What ``harness`` and ``python -m harness`` call: runs one command and turns errors and Ctrl-C into an exit status."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

UNREAD, MISTAKE, BUG, INTERRUPTED = 1, 2, 70, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status.

    0: done. 1: done, but something in it failed. 2: a mistake in what was asked, with a message that says which.
    70: a bug. 130: interrupted.
    """
    from harness.cli.console.terminal import any_terminal
    from harness.engine.threads import give_way_soon
    from harness.isolation.process_state import collection_paused

    give_way_soon()
    with any_terminal() as terminal:
        try:
            with collection_paused():
                from harness.cli.app import run

            _check_names(sys.argv[1:] if arguments is None else arguments)
            status = run(sys.argv[1:] if arguments is None else list(arguments))
            if error := terminal.output_error:
                reason = f"standard output cannot be written ({error.strerror}); send it elsewhere"
                print(f"error: {reason} and run the command again", file=sys.stderr)
                return MISTAKE
            return status
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:
            return UNREAD
        except Exception as error:
            return _explain(error)


def _check_names(arguments: Sequence[str]) -> None:
    """Raise RunError where a name is one of bytes that are no UTF-8: the libraries that read and write models and
    tables cannot open it.
    """
    from harness.errors import RunError
    from harness.surrogates import has_surrogates

    with contextlib.suppress(OSError):  # the working directory is gone
        arguments = [*arguments, str(Path.cwd())]
    for name in arguments:
        if has_surrogates(name):
            raise RunError(f"{name!r}: the name is not UTF-8, and models and tables there cannot be opened; rename it")


def _explain(error: Exception) -> int:
    from harness.errors import HarnessError, tracebacks_wanted

    if tracebacks_wanted():
        import traceback

        traceback.print_exception(error)
    mistake = str(error) if isinstance(error, HarnessError) else _of_the_system(error)
    if mistake is not None:
        print(f"error: {mistake}", file=sys.stderr)
        return MISTAKE
    from harness.registry.plugin_problem import error_with_place

    print(f"error: {error_with_place(error)}", file=sys.stderr)
    print("This is a bug, in the harness or in the plugin whose file is named.", file=sys.stderr)
    if not tracebacks_wanted():
        print("Give the command again with --verbose to see the whole traceback.", file=sys.stderr)
    return BUG


def _of_the_system(error: Exception) -> str | None:
    """What is wrong where the system, and no program, is in the way; None elsewhere."""
    from harness.errors import error_text, is_full_device

    if is_full_device(error):
        return error_text(error)
    if isinstance(error, UnicodeEncodeError) and error.encoding == sys.getfilesystemencoding() != "utf-8":
        return (
            f"{error.object!r} cannot be a file's name here, in {error.encoding}; set PYTHONUTF8=1, or use a UTF-8 "
            "locale"
        )
    return None
