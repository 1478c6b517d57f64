"""Parameters that people write: pydantic models in which a typo is an error, and which parts count for identity."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

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
