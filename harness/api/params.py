"""Parameters that people write: pydantic models in which a typo is an error, and which parts count for identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_NOT_IDENTITY = "not_identity"


class Params(BaseModel):
    """Base of every plugin's ``Params``. Unknown fields are errors; instances are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def identity(self) -> dict[str, Any]:
        """The fields that can change a number, as plain JSON data. Fields made with `host_field` are left out, and
        every path, wherever it stands, is `SOME_FILE`: what is in a file counts, not where it lies.
        """
        skip = {
            name
            for name, field in type(self).model_fields.items()
            if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get(_NOT_IDENTITY)
        }
        return dump_portably(self, exclude=skip)


def host_field(default: Any, **kwargs: Any) -> Any:
    """A parameter that says how or where to compute but cannot change a result (device, path of a cache): no part of
    any key.
    """
    return Field(default, json_schema_extra={_NOT_IDENTITY: True}, **kwargs)


SOME_FILE = "(a file)"
_write_path: ContextVar[Callable[[Path], Any] | None] = ContextVar("_write_path", default=None)


@contextmanager
def write_paths(write: Callable[[Path], Any]) -> Iterator[None]:
    """While this lasts, `dump_portably` writes every path as ``write(path)``, unless this stands around it already."""
    token = _write_path.set(_write_path.get() or write)
    try:
        yield
    finally:
        _write_path.reset(token)


def dump_portably(params: BaseModel, **kwargs: Any) -> dict[str, Any]:
    """Parameters as JSON data that are the same wherever files lie: each path is `SOME_FILE`.

    Args:
        kwargs: of `pydantic.BaseModel.model_dump`.
    """
    plain: dict[str, Any] = params.model_dump(mode="json", **kwargs)
    found: dict[str, Any] = _with_written_paths(params.model_dump(mode="python", **kwargs), plain)
    return found


def _with_written_paths(value: Any, plain: Any) -> Any:
    """``plain``, the JSON data of ``value``, with every path in it written otherwise."""
    if isinstance(value, Path):
        write = _write_path.get()
        return SOME_FILE if write is None else write(value)
    if isinstance(value, dict) and isinstance(plain, dict) and len(value) == len(plain):
        pairs = zip(plain.items(), value.values(), strict=True)
        return {name: _with_written_paths(one, written) for (name, written), one in pairs}
    if isinstance(value, set | frozenset) and any(isinstance(one, Path) for one in value):
        value, plain = sorted(value), sorted(plain)
    if isinstance(value, list | tuple) and isinstance(plain, list) and len(value) == len(plain):
        return [_with_written_paths(one, written) for one, written in zip(value, plain, strict=True)]
    return plain


_spec_folder: ContextVar[Path | None] = ContextVar("_spec_folder", default=None)
"""Folder of the spec being read, or None when parameters come from somewhere else."""


@contextmanager
def relative_to(folder: Path) -> Iterator[None]:
    """Within this block a relative `SpecPath` is taken from ``folder``."""
    token = _spec_folder.set(folder.absolute())
    try:
        yield
    finally:
        _spec_folder.reset(token)


def _resolve(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path cannot contain a NUL character")
    base = _spec_folder.get()
    return path if base is None else base / path


SpecPath = Annotated[Path, AfterValidator(_resolve)]
"""Type of a parameter that names a file or folder. A relative path counts from the spec's folder, or outside a spec
from the working directory.

A path says where something lies, not what it is, so it is no part of any key, spec hash or record, and a run can be
verified from another folder. What the file holds counts: of a task the data's hash; of a victim or an attack what its
`fingerprint` tells, or else the file's hash; of a judge or a defense the file's hash. Where that is not wanted, such as
for a cache, combine it with `host_field`::

    class Params(Task.Params):
        train: SpecPath = Field(description="CSV file of training rows")
"""
