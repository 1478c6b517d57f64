"""From the bytes of a local file to its text: gzip, encodings, and what a wrong encoding looks like."""

from __future__ import annotations

import codecs
import gzip
import zlib
from pathlib import Path

from harness import DataError

# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD = 4096  # bytes that are looked at to guess an encoding


def unzipped(path: Path, raw: bytes) -> bytes:
    """The bytes of a file, unpacked where its name ends in .gz.

    Raises:
        DataError: it is no whole gzip file.
    """
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error}); download it again or drop the .gz") from error


def decoded(path: Path, raw: bytes, encoding: str) -> str:
    """The text of a file, without a byte order mark.

    Raises:
        DataError: the encoding is unknown, or the bytes are not of it; with the line and what they may be.
    """
    try:
        is_utf8 = codecs.lookup(encoding).name == "utf-8"
        text = raw.decode("utf-8-sig" if is_utf8 else encoding)
    except (LookupError, ValueError) as error:
        if not isinstance(error, UnicodeDecodeError):
            raise DataError(f"{path}: unknown encoding {encoding!r}; try utf-8, latin-1 or utf-16") from None
        line = raw.count(b"\n", 0, error.start) + 1
        bad = raw[error.start : error.end].hex(" ")
        likely = _wide_encoding(raw) or "latin-1 or cp1252"
        raise DataError(
            f"{path}, line {line}: bytes {bad} are not {encoding}; "
            f"save the file as UTF-8 or give its `encoding`, e.g. {likely}"
        ) from None
    wide = _wide_encoding(raw)
    if wide and "\0" in text[:_HEAD]:  # ASCII in UTF-16 is valid UTF-8 and latin-1, with a NUL next to each letter
        raise DataError(
            f"{path}: its bytes are not {encoding} but {wide}; save the file as UTF-8 or give `encoding: {wide}`"
        )
    return text


def _wide_encoding(raw: bytes) -> str | None:
    """The encoding of several bytes per letter that a file seems to be in; None: none of these."""
    for mark, name in _MARKS:
        if raw.startswith(mark):
            return name
    head = raw[:_HEAD]
    if head.count(0) * 4 < len(head):
        return None
    if head.count(0) * 8 > len(head) * 5:
        return "utf-32-be" if head[:1] == b"\0" else "utf-32-le"
    return "utf-16-be" if head[::2].count(0) > head[1::2].count(0) else "utf-16-le"
