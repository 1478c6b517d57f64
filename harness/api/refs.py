"""References to plugins inside parameters and specs: ``name`` or ``{name: {parameter: value}}``.

A field typed `AttackRef` (or `VictimRef` and so on) also says which kind it must be. Where a registry is in the
validation context, the nested plugin is looked up, its parameters are validated with its own model, and the reference
then holds them in full; without one only the form is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PrivateAttr,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, ValidationError, core_schema

from harness.api.plugin import Kind
from harness.errors import PluginError

FORM = "write a plugin's name, or {name: {parameter: value}}"
_write: ContextVar[Callable[[PluginRef], Any] | None] = ContextVar("_write", default=None)


class Resolved(Protocol):
    """What a reference stands for once a registry has resolved it."""

    @property
    def label(self) -> str:
        """Short name of the plugin for tables."""

    def identity(self) -> dict[str, Any]:
        """All of it that can change a number, as JSON data."""


class PluginRef(BaseModel):
    """A plugin's name with parameters, as people write it. Which kind it must be is said by the field's type."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    name: str
    params: dict[str, Any] = {}
    _resolved: Any = PrivateAttr(None)

    @property
    def resolved(self) -> Resolved | None:
        """The plugin this stands for, or None where it was validated without a registry."""
        found: Resolved | None = self._resolved
        return found

    def __eq__(self, other: object) -> bool:
        # What it resolved to follows from the two fields, so it takes no part in comparison.
        return isinstance(other, PluginRef) and (self.name, self.params) == (other.name, other.params)

    def __hash__(self) -> int:
        return hash(self.name)

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        return long_form(value)

    @model_serializer(mode="plain")
    def _short(self) -> Any:
        write = _write.get()
        if write is not None:
            return write(self)
        return {self.name: self.params} if self.params else self.name


def long_form(value: Any) -> Any:
    """A reference as ``{"name": ..., "params": ...}``, out of ``NAME`` or ``{NAME: {...}}``; anything else as it is.

    Raises:
        ValueError: a mapping that is none of these.
    """
    if isinstance(value, str):
        return {"name": value, "params": {}}
    if isinstance(value, dict) and "name" not in value:
        if len(value) != 1:
            raise ValueError(FORM)
        ((name, params),) = value.items()
        if not isinstance(name, str) or not isinstance(params, dict | None):
            raise ValueError(FORM)
        return {"name": name, "params": params or {}}
    return value


def resolved_ref(plugin: Any) -> PluginRef:
    """The reference to a plugin that a registry has resolved, with all its parameters."""
    ref = PluginRef(name=plugin.name, params=plugin.plugin.params.model_dump(mode="json"))
    ref._resolved = plugin
    return ref


@contextmanager
def dump_references(write: Callable[[PluginRef], Any]) -> Iterator[None]:
    """While this lasts, every reference inside a dumped model comes out as ``write(reference)``."""
    token = _write.set(write)
    try:
        yield
    finally:
        _write.reset(token)


@dataclass(frozen=True)
class RefTo:
    """Annotation of a `PluginRef` field: the kind it must be."""

    kind: Kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_wrap_validator_function(self._resolve, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"description": f"{self.kind} plugin: {FORM}", "anyOf": [{"type": "string"}, {"type": "object"}]}

    def _resolve(self, written: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> PluginRef:
        ref: PluginRef = handler(written)
        registry = (info.context or {}).get("registry")
        if registry is None:
            return ref
        try:
            return resolved_ref(registry.resolve(self.kind, ref))
        except PluginError as error:
            raise _validation_error(written, error) from error


def _validation_error(written: Any, error: PluginError) -> ValidationError:
    """The error as pydantic's own, each problem at the place where the user wrote it in whichever form."""
    problems = getattr(error, "problems", None)
    name_at: tuple[str | int, ...] = ()
    params_at: tuple[str | int, ...] = ()
    if not isinstance(written, dict):
        pass
    elif "name" in written:
        name_at, params_at = ("name",), ("params",)
    else:
        name_at = params_at = (next(iter(written)),)
    where = [(name_at, str(error))] if problems is None else [((*params_at, *loc), text) for loc, text in problems]
    details = [
        # The message goes in as a value: braces in it must not be taken for fields of a template.
        InitErrorDetails(type=PydanticCustomError("plugin", "{message}", {"message": text}), loc=loc, input=written)
        for loc, text in where
    ]
    return ValidationError.from_exception_data("plugin", details)


TaskRef = Annotated[PluginRef, RefTo("task")]
VictimRef = Annotated[PluginRef, RefTo("victim")]
AttackRef = Annotated[PluginRef, RefTo("attack")]
DefenseRef = Annotated[PluginRef, RefTo("defense")]
JudgeRef = Annotated[PluginRef, RefTo("judge")]
