"""Which model was asked besides the victim, and by whom: the names under which `CellRecord.auxiliary` has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

T = TypeVar("T")
Asker = Literal["attack", "judge", "defense"]

_WRITTEN = re.compile(r"judge:(?P<judge>.*)|defense:(?P<place>0|[1-9][0-9]{0,8}):(?P<defense>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ModelRole:
    """The role of an auxiliary model.

    Written ``NAME`` of a model that the attack asks, ``judge:NAME`` of one that the judge asks, and
    ``defense:PLACE:NAME`` of one that a runtime defense asks.

    Attributes:
        name: what the plugin that asks calls it.
        place: of a runtime defense in its stack, counted from 0; 0 for any other asker.
    """

    name: str
    asker: Asker = "attack"
    place: int = 0

    @classmethod
    def parse(cls, text: str) -> ModelRole:
        """The role that is written so; what has neither prefix is the attack's."""
        found = _WRITTEN.fullmatch(text)
        if found is None:
            return cls(text)
        if found["place"] is None:
            return cls(found["judge"], "judge")
        return cls(found["defense"], "defense", int(found["place"]))

    def __str__(self) -> str:
        if self.asker == "attack":
            return self.name
        return f"judge:{self.name}" if self.asker == "judge" else f"defense:{self.place}:{self.name}"


def asked_by(models: Mapping[ModelRole, T], asker: Asker, place: int = 0) -> dict[str, T]:
    """Of models by role, those of one asker, by the names that it calls them."""
    return {role.name: model for role, model in models.items() if (role.asker, role.place) == (asker, place)}
