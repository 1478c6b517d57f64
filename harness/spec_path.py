"""File paths in plugin parameters, relative to the spec that names them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

spec_base: ContextVar[Path | None] = ContextVar("spec_base", default=None)
"""Folder of the spec being read, or None when parameters come from somewhere else."""


@contextmanager
def relative_to(folder: Path) -> Iterator[None]:
    """Within this block a relative `SpecPath` is taken from ``folder``."""
    token = spec_base.set(folder.absolute())
    try:
        yield
    finally:
        spec_base.reset(token)


def _resolve(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path cannot contain a NUL character")
    base = spec_base.get()
    return path if base is None else base / path


SpecPath = Annotated[Path, AfterValidator(_resolve)]
"""Type of a parameter that names a file. A relative path counts from the spec's folder, or outside a spec from the
working directory.

A path says where data lies, not what it is, so it must be no part of any key (the data's hash is): combine it with
`host_field`::

    class Params(Task.Params):
        train: SpecPath = host_field(..., description="CSV file of training rows")
"""
