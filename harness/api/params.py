"""Parameters that people write: pydantic models in which a typo is an error, and which parts count for identity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_NOT_IDENTITY = "not_identity"


class Params(BaseModel):
    """Base of every plugin's ``Params``. Unknown fields are errors; instances are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, defer_build=True)

    def identity(self) -> dict[str, Any]:
        """The fields that can change a number, as plain JSON data. Fields made with `host_field` are left out, and
        every path, wherever it stands, is `SOME_FILE`: what is in a file counts, not where it lies.
        """
        return dump_portably(self, exclude=host_fields(type(self)))

    def described(self) -> dict[str, Any]:
        """What labels are made of: `identity`, and besides it every file and folder as a `Path`, by the name of its
        field (``field.part`` in a group of parameters). Override it where `identity` holds something else in place of
        a path.
        """
        paths: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            parts = {f"{name}.{part}": inner for part, inner in value} if isinstance(value, Params) else {name: value}
            paths |= {part: inner for part, inner in parts.items() if isinstance(inner, Path)}
        return self.identity() | paths


def host_field(default: Any, **kwargs: Any) -> Any:
    """A parameter that says how or where to compute but cannot change a result (device, path of a cache): no part of
    any key.
    """
    return Field(default, json_schema_extra={_NOT_IDENTITY: True}, **kwargs)


def host_fields(params: type[BaseModel]) -> set[str]:
    """Names of the parameters made with `host_field`."""
    extra = {name: field.json_schema_extra for name, field in params.model_fields.items()}
    return {name for name, told in extra.items() if isinstance(told, dict) and told.get(_NOT_IDENTITY)}


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
_plain_folders: ContextVar[set[str] | None] = ContextVar("_plain_folders", default=None)
"""Names that stand for folders of that spec, though nothing in them says so; None as there."""


@contextmanager
def relative_to(folder: Path, plain_folders: Iterable[str] = ()) -> Iterator[set[str]]:
    """Within this block a relative `SpecPath` is taken from ``folder``. Yields the names that `spec_folder_or_name`
    took for folders because they were there, such as ``models/a``: elsewhere they read as hub ids.

    Args:
        plain_folders: names to take for folders, whether or not they are there.
    """
    names = set(plain_folders)
    here, plain = _spec_folder.set(folder.absolute()), _plain_folders.set(names)
    try:
        yield names
    finally:
        _plain_folders.reset(plain)
        _spec_folder.reset(here)


def paths_from() -> Path:
    """The folder that relative paths in parameters count from: the spec's while one is read, else the working
    directory.
    """
    return _spec_folder.get() or Path.cwd()


def spec_folder_or_name(text: str) -> str:
    """A parameter that names a local folder, or by a name something elsewhere (a hub id); a folder's path in full.

    A text is a path if it begins with ``/``, ``./``, ``../`` or ``~``, or if there is a folder of that name. A relative
    path counts from the spec's folder, or outside a spec from the working directory. Whether an explicit path leads
    anywhere is not looked at.

    Raises:
        ValueError: in a spec, a text that only the working directory has a folder of.
    """
    path = Path(text).expanduser() if text.startswith("~/") else Path(text)
    base = _spec_folder.get()
    if "\0" in text or base is None or path.is_absolute():
        return text if base is None else str(path)
    here, there = base / path, Path.cwd() / path
    plain = _plain_folders.get()
    if plain is not None and (text in plain or _is_folder(here)):
        plain |= set() if text.startswith(("./", "../")) or text in (".", "..") else {text}
        return str(here)
    if _is_folder(there):
        raise ValueError(
            f"there is a folder {there} in the working directory, but relative paths start at the spec's folder, "
            f"where there is none ({here}); write the path from there, or in full"
        )
    return str(here) if text in (".", "..") or text.startswith(("./", "../")) else text


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # longer than a path may be
        return False


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
