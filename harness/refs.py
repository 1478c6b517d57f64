"""References to plugins inside parameters and specs: ``name`` or ``{name: {parameter: value}}``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_serializer, model_validator


class PluginRef(BaseModel):
    """A plugin's name with parameters, as people write it. Which kind it must be is said by the field's type, e.g. `AttackRef`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    params: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value, "params": {}}
        if isinstance(value, dict) and len(value) == 1 and "name" not in value:
            ((name, params),) = value.items()
            if not isinstance(name, str) or not isinstance(params, dict | None):
                raise ValueError("write a plugin's name, or {name: {parameter: value}}")
            return {"name": name, "params": params or {}}
        return value

    @model_serializer(mode="plain")
    def _short(self) -> Any:
        return {self.name: self.params} if self.params else self.name
