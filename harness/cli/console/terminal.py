"""Standard output and error as they are in the world: of any encoding, closed, or on a device that is full. What is
written to them shows what it is.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from harness.records.visible_text import visible

# What stands in for our own signs where an encoding lacks them, one character for one, so that tables stay straight.
_PLAIN = str.maketrans("–—−×·…→≥≤≈“”‘’", "---x*~>><~\"\"''")
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True))
_ERRORS = "harness.plain"


class _Forgiving(io.FileIO):
    """A file that takes what its device does not: a full log must not end a run.

    Attributes:
        error: the first one that was met.
    """

    error: OSError | None = None

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno == errno.EPIPE:  # nobody reads it any more: there is no use in going on
                raise
            self.error = self.error or error
            return memoryview(data).nbytes  # type: ignore[arg-type]


class _VisibleText(io.TextIOWrapper):
    """Text of which nothing is unseen: names and messages may be of others."""

    def write(self, text: str) -> int:
        return super().write(visible(text))


class _VisibleStream:
    """The same onto a stream that is none of the system's; all else is that one's."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(visible(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Terminal:
    """What standard output and error are while a command runs."""

    def __init__(self) -> None:
        self._output: _Forgiving | None = None

    @property
    def output_error(self) -> OSError | None:
        """Why not all that was printed on standard output could be written; None where it was."""
        sys.stdout.flush()
        return None if self._output is None else self._output.error

    @contextlib.contextmanager
    def _replaced(self) -> Iterator[None]:
        before = sys.stdout, sys.stderr
        for stream in before:
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=_ERRORS)
        output, error = map(_forgiving_file, before)
        self._output = output
        sys.stdout, sys.stderr = _text(output, before[0]), _text(error, before[1])
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, AttributeError):  # whatever a plugin has put there
                    stream.flush()
            sys.stdout, sys.stderr = before


@contextlib.contextmanager
def any_terminal() -> Iterator[Terminal]:
    """Within this block printing raises no UnicodeEncodeError, nor any OSError but that nobody reads any more."""
    codecs.register_error(_ERRORS, _plain)
    terminal = Terminal()
    with terminal._replaced():
        yield terminal


def _forgiving_file(stream: TextIO | None) -> _Forgiving | None:
    """The file of a stream, forgiving; None where the stream is none of the system's."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # PYTHONUNBUFFERED leaves out the one between
    if not isinstance(stream, io.TextIOWrapper) or not isinstance(raw, io.FileIO) or raw.closed:
        return None
    stream.flush()
    return _Forgiving(raw.fileno(), "w", closefd=False)


def _text(file: _Forgiving | None, like: TextIO | None) -> TextIO:
    """A stream of text to a file, in the encoding of another; that one where there is no file, nowhere where that is
    closed.
    """
    if like is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if file is None or not isinstance(like, io.TextIOWrapper):
        return cast(TextIO, _VisibleStream(like))
    line_buffering = like.line_buffering or like.write_through
    return _VisibleText(io.BufferedWriter(file), like.encoding, _ERRORS, line_buffering=line_buffering)


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler of `codecs`: a plain sign for each of ours, the escape of every other character."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = ""
    for at in range(error.start, error.end):
        character = error.object[at]
        if character in _RAISED:
            text += _RAISED[character] if error.object[at - 1 : at] in _RAISED else f"^{_RAISED[character]}"
        else:
            text += character.translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end
