"""Content addresses: one canonical text for JSON data, and a short hash of it."""

from __future__ import annotations

import hashlib
import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any


def canonical_json(data: Any) -> str:
    """The one JSON text of ``data``: keys sorted, no spaces, ASCII. Equal data give equal text on every machine.

    Tuples count as lists. 1 and 1.0 differ, as they do in JSON text.

    Raises:
        ValueError: no unambiguous JSON form: NaN, infinity, a key that is no text, an object of another type.
    """
    _check(data)
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def content_key(data: Any, length: int = 20) -> str:
    """The first ``length`` hexadecimal digits (at most 64) of the sha256 of ``canonical_json(data)``."""
    if not 1 <= length <= 64:
        raise ValueError(f"a sha256 has 64 hexadecimal digits; asked for {length}")
    return hashlib.sha256(canonical_json(data).encode("ascii")).hexdigest()[:length]


def path_digest(path: Path) -> str:
    """What is at a path: the sha256 of a file, or of a folder's files with their names in it; "missing" where there is
    nothing, or a pipe or device, which might never end. Read again only when size or time of change say so.
    """
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    if not path.is_dir() and not path.is_file():
        return "missing"
    try:
        stats = [file.stat() for file in files]
        digests = [_file_digest(file, stat.st_size, stat.st_mtime_ns) for file, stat in zip(files, stats, strict=True)]
    except OSError:
        return "missing"
    if not path.is_dir():
        return digests[0]
    names = [file.relative_to(path).as_posix() for file in files]
    return content_key(dict(zip(names, digests, strict=True)), 64)


@lru_cache(maxsize=4096)
def _file_digest(file: Path, size: int, changed: int) -> str:
    """The sha256 of a file of that size and time of change."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _check(data: Any) -> None:
    # json.dumps would turn the keys 1 and "1" into the same text, so two different things would share an address.
    if isinstance(data, dict):
        for key, value in data.items():
            if not isinstance(key, str):
                raise ValueError(f"keys must be text, found {key!r}")
            _check(value)
    elif isinstance(data, list | tuple):
        for value in data:
            _check(value)
    elif isinstance(data, float):
        if not math.isfinite(data):
            raise ValueError(f"{data} has no JSON form")
    elif not isinstance(data, str | int | None):
        raise ValueError(f"{type(data).__name__} has no canonical JSON form")
