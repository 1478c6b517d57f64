"""A file that was asked for by an option, written all or nothing."""

from __future__ import annotations

from pathlib import Path

from harness.errors import DataError
from harness.store.atomic import write_file


def write_export(path: Path, text: str, option: str) -> None:
    """Write a text, with the folders that it needs. Raises DataError, naming the option, where that cannot be done."""

    def write(target: Path) -> None:
        target.write_text(text, encoding="utf-8", newline="")

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, write)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error}). Give another {option}.") from None
