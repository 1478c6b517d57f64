"""Hashes of files, each taken once while it stays as it is."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path


def file_hash(file: Path) -> str:
    """The sha256 of a file's content, in hexadecimal digits."""
    stat = file.stat()
    return _file_hash(str(file.resolve()), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _file_hash(path: str, _size: int, _changed: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
