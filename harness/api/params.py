"""Parameters that people write: pydantic models in which a typo is an error, and which parts count for identity."""

from __future__ import annotations

from collections.abc import Iterator
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
        """The fields that can change a number, as plain JSON data (fields made with `host_field` are left out)."""
        skip = {
            name
            for name, field in type(self).model_fields.items()
            if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get(_NOT_IDENTITY)
        }
        return self.model_dump(mode="json", exclude=skip)


def host_field(default: Any, **kwargs: Any) -> Any:
    """A parameter that says how or where to compute but cannot change a result (device, path of a cache): no part of
    any key.
    """
    return Field(default, json_schema_extra={_NOT_IDENTITY: True}, **kwargs)


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
"""Type of a parameter that names a file. A relative path counts from the spec's folder, or outside a spec from the
working directory.

A path says where data lies, not what it is, so it must be no part of any key (the data's hash is): combine it with
`host_field`::

    class Params(Task.Params):
        train: SpecPath = host_field(..., description="CSV file of training rows")
"""
