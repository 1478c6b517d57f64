"""The search space that follows from an attack's parameters: their types, bounds and values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from harness.api.attack import Attack
from harness.api.params import host_fields
from harness.errors import PluginError
from harness.run.tuning.dimension import Choices, Dimension, Range

STEPS = "steps"
"""The parameter that the budget sets."""
FACTOR = 4
"""A number without bounds on both sides is tried from a quarter of its value to four times as much."""
_INSIDE = 0.01  # how far, as a share of the range, from a bound that is not allowed itself

Make = Callable[[Mapping[str, Any]], Attack]
"""The attack with some parameters changed. Raises PluginError where it does not accept them."""


@dataclass(frozen=True)
class NumberField:
    """A parameter that is a number, and the bounds that its type sets; infinite where there is none."""

    integer: bool
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    @classmethod
    def of(cls, info: FieldInfo) -> NumberField | None:
        """The number that a field holds, None of a field that holds none; one that may be left out counts."""
        annotation, metadata = _one_arm(info)
        if annotation not in (int, float):
            return None
        found = cls(annotation is int)
        bounds = {"gt": -math.inf, "ge": -math.inf, "lt": math.inf, "le": math.inf}
        for constraint in metadata:
            bounds |= {name: getattr(constraint, name) for name in bounds if hasattr(constraint, name)}
        low, high = max(bounds["gt"], bounds["ge"]), min(bounds["lt"], bounds["le"])
        open_low, open_high = bounds["gt"] >= bounds["ge"], bounds["lt"] <= bounds["le"]
        if found.integer:  # the first whole numbers that are allowed
            low, high = low + (open_low and math.isfinite(low)), high - (open_high and math.isfinite(high))
            return cls(True, low, high)
        return cls(False, low, high, open_low, open_high)

    def around(self, name: str, value: float) -> Range | None:
        """What is tried of it; None where neither bounds nor value tell."""
        if math.isfinite(self.low) and math.isfinite(self.high) and not self.integer:
            margin = _INSIDE * (self.high - self.low)
            return Range(name, self.low + margin * self.open_low, self.high - margin * self.open_high, False, False)
        if not value > 0:
            return None
        low, high = max(value / FACTOR, self.low), min(value * FACTOR, self.high)
        if self.integer:
            low, high = max(math.ceil(low), 1), math.floor(high)
        return Range(name, low, high, self.integer, True) if low < high else None


def derived_space(attack: Attack, make: Make) -> list[Dimension]:
    """What may be tried of each parameter, in their order. Left out: steps, nested models, files and texts, what counts
    for no result, what says how many examples share a string, and numbers that are 0 without an upper bound.
    """
    model = type(attack.params)
    left_out = {STEPS} | host_fields(model)
    found = [
        dimension
        for name, info in model.model_fields.items()
        if name not in left_out and (dimension := _dimension(name, info, getattr(attack.params, name))) is not None
    ]
    return [dimension for dimension in found if not _regroups(dimension, attack, make)]


def _dimension(name: str, info: FieldInfo, value: Any) -> Dimension | None:
    annotation, _ = _one_arm(info)
    if value is None:
        return None
    if annotation is bool:
        return Choices(name, (False, True))
    if get_origin(annotation) is Literal and len(get_args(annotation)) > 1:
        return Choices(name, get_args(annotation))
    number = NumberField.of(info)
    return None if number is None or isinstance(value, bool) else number.around(name, value)


def _one_arm(info: FieldInfo) -> tuple[Any, list[Any]]:
    """A field's type and constraints; of one that may be None, those of the rest."""
    annotation, metadata = info.annotation, list(info.metadata)
    if get_origin(annotation) in (Union, UnionType):
        arms = [arm for arm in get_args(annotation) if arm is not type(None)]
        if len(arms) != 1:
            return annotation, metadata
        annotation = arms[0]
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata += more
    return annotation, metadata


def _regroups(dimension: Dimension, attack: Attack, make: Make) -> bool:
    """Whether it changes how many examples share a string: that is another attack, and no setting of this one."""
    ends = dimension.values if isinstance(dimension, Choices) else (dimension.low, dimension.high)
    for value in ends:
        try:
            if make({dimension.name: value}).group() != attack.group():
                return True
        except PluginError:  # goes with others alone; what is drawn is checked as a whole
            continue
    return False
