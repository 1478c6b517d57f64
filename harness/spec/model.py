"""What a spec says, as pydantic models. Whether its plugins exist and accept their parameters: see `resolve`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from harness.plugin import Kind
from harness.refs import PluginRef
from harness.threat import Threat

PLUGIN_LISTS: dict[str, Kind] = {"tasks": "task", "victims": "victim", "defenses": "defense", "attacks": "attack"}
"""The fields that hold a list of plugins, and of which kind."""


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_Many = BeforeValidator(_tuple)  # YAML gives lists; frozen models want tuples
_Refs = Annotated[tuple[PluginRef, ...], _Many, Field(min_length=1, max_length=500)]
_Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Exclude(BaseModel):
    """Combinations to leave out: those that match every field given here.

    A plugin matches when its name and all the parameters given are equal; a threat when all the fields given are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    task: PluginRef | None = None
    victim: PluginRef | None = None
    defense: PluginRef | None = None
    attack: PluginRef | None = None
    threat: dict[str, Any] | None = Field(default=None, min_length=1)
    seed: _Seed | None = None
    round: NonNegativeInt | None = None

    @model_validator(mode="before")
    @classmethod
    def _says_something(cls, value: Any) -> Any:
        # A field left empty by mistake would match everything and silently drop cells.
        if isinstance(value, dict):
            if not value:
                raise ValueError(f"would leave out everything; give at least one of {', '.join(cls.model_fields)}")
            for key, content in value.items():
                if content is None:
                    raise ValueError(f"'{key}' has no value; write one or remove the field")
        return value


class Spec(BaseModel):
    """A benchmark: the product of tasks, victims, defenses, attacks, threats and seeds, less what `exclude` names."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=100)
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=40)
    summary: str = Field(default="", max_length=1000, description="one line for people; no part of the hash")
    seeds: Annotated[tuple[_Seed, ...], _Many] = Field(default=(0,), min_length=1, max_length=10_000)
    tasks: _Refs
    victims: _Refs
    defenses: _Refs = (PluginRef(name="none"),)
    attacks: _Refs
    threats: Annotated[tuple[Threat, ...], _Many] = Field(
        default=(Threat.model_validate({}),), min_length=1, max_length=500
    )
    exclude: Annotated[tuple[Exclude, ...], _Many] = Field(default=(), max_length=200)
    judge: PluginRef = PluginRef(name="wrong_label")
    examples: PositiveInt = Field(
        default=32, description="first validation examples; those that the victim gets right are attacked"
    )
    clean_examples: PositiveInt = Field(
        default=256, description="validation examples for clean accuracy; at least `examples`"
    )
    too_long: Literal["exclude", "error", "truncate"] = Field(
        default="exclude",
        description="prompts that do not fit the victim's context with the attack string: not attacked, and counted; "
        "an error; or their changeable text is cut off at the end, and counted",
    )
    stop_on_success: bool = Field(default=False, description="stop attacking an example once it has been broken")
    target_asr: float = Field(
        default=0.5, gt=0.0, le=1.0, description="attack success rate to which the leaderboard refers"
    )
