"""The fields of a spec as pydantic models. Whether its plugins exist and accept their parameters: see `axes`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_serializer,
    model_validator,
)

from harness.api.plugin import Kind
from harness.api.refs import PluginRef, long_form
from harness.api.threat import Threat
from harness.hashing import canonical_json
from harness.records.cell_manifest import TuningRecord
from harness.records.visible_text import SPEC_NAME
from harness.spec.answers import AnswerSampling


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class AttackEntry(PluginRef):
    """One entry of ``attacks``: a plugin's reference, as ``{NAME: {...}, tuned: {...}}`` with the search that its
    parameters come from, which `harness tune` writes.
    """

    tuned: TuningRecord | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_tuned(cls, value: Any) -> Any:
        if isinstance(value, PluginRef) and not isinstance(value, AttackEntry):
            return {"name": value.name, "params": value.params}
        ref, tuned = attack_parts(value)
        return ref if tuned is None else {**long_form(ref), "tuned": tuned}

    @model_serializer(mode="plain")
    def _short(self) -> Any:
        plain = {self.name: self.params} if self.params or self.tuned else self.name
        return plain if self.tuned is None else {self.name: self.params, "tuned": self.tuned.model_dump(mode="json")}


def attack_parts(value: Any) -> tuple[Any, Any]:
    """The reference of an entry of ``attacks`` as written, and its ``tuned``."""
    if not isinstance(value, dict) or "tuned" not in value or len(value) == 1:
        return value, None
    return {key: content for key, content in value.items() if key != "tuned"}, value["tuned"]


class DefenseEntry(BaseModel):
    """One entry of ``defenses``: a defense, or several in the order in which a prompt meets them.

    Written as a plugin's reference, as a list of references, or as a mapping ``{stack: [...], non_adaptive: true}`` or
    ``{NAME: {...}, non_adaptive: true}``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    parts: Annotated[tuple[PluginRef, ...], BeforeValidator(_tuple)] = Field(min_length=1, max_length=20)
    non_adaptive: bool = Field(
        default=False,
        description="attacks search against the undefended victim; only verdicts come from the defended one",
    )

    @model_validator(mode="before")
    @classmethod
    def _forms(cls, value: Any) -> Any:
        if isinstance(value, DefenseEntry) or (isinstance(value, dict) and "parts" in value):
            return value
        return dict(zip(("parts", "non_adaptive"), entry_parts(value), strict=True))

    @property
    def single(self) -> PluginRef | None:
        """The defense, where it is one that attacks see."""
        return self.parts[0] if len(self.parts) == 1 and not self.non_adaptive else None

    @model_serializer(mode="plain")
    def _short(self) -> Any:
        if self.single is not None:
            return self.single.model_dump(mode="json")
        parts = [part.model_dump(mode="json") for part in self.parts]
        return {"stack": parts, "non_adaptive": True} if self.non_adaptive else parts


def entry_parts(value: Any) -> tuple[Any, Any]:
    """The references of an entry of ``defenses`` as written, and its ``non_adaptive``."""
    if isinstance(value, list | tuple):
        return value, False
    if isinstance(value, dict) and ("stack" in value or "non_adaptive" in value):
        rest = {key: content for key, content in value.items() if key != "non_adaptive"}
        static = value.get("non_adaptive", False)
        return (rest["stack"] if set(rest) == {"stack"} else [rest]), static
    return [value], False


PLUGIN_LISTS: dict[str, Kind] = {"tasks": "task", "victims": "victim", "defenses": "defense", "attacks": "attack"}
"""The fields that hold a list of plugins, and of which kind."""


_Many = BeforeValidator(_tuple)  # YAML gives lists; frozen models want tuples
_Refs = Annotated[tuple[PluginRef, ...], _Many, Field(min_length=1, max_length=500)]
_Seed = Annotated[int, Field(ge=0, lt=2**32)]
DiagnosticsExtent = Literal["off", "light", "full"]
"""How much is found out of a defended victim besides its ASR, from nothing to everything."""


class Combinations(BaseModel):
    """Combinations that match every field given here.

    A plugin matches when its name and all the parameters given are equal; a threat when all the fields given are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    _does: ClassVar[str] = "keep"
    task: PluginRef | None = None
    victim: PluginRef | None = None
    defense: DefenseEntry | None = None
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
                raise ValueError(f"would {cls._does} everything; give at least one of {', '.join(cls.model_fields)}")
            for key, content in value.items():
                if content is None:
                    raise ValueError(f"'{key}' has no value; write one or remove the field")
        return value


class Exclude(Combinations):
    """Combinations to leave out: those that match every field given here and no entry of `unless`."""

    _does: ClassVar[str] = "leave out"
    unless: Annotated[tuple[Combinations, ...], BeforeValidator(_tuple)] = Field(
        default=(), max_length=200, description="which of them are kept"
    )


def _whole_above_one(value: float) -> float:
    if value > 1 and value != int(value):
        raise ValueError("a share of one GPU (0.5) or whole ones (2)")
    return value


class ResourceEntry(BaseModel):
    """What a worker of a cluster is given for the cells of one victim, or of all where none is named.

    Of several entries that say something about a victim, the last counts.

    The number of CPUs is that of an attack's threads as well, on every executor; models are made with the spec's
    ``training_threads``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    victim: PluginRef | None = None
    cpus: Annotated[int, Field(ge=1, le=4096)] | None = None
    gpus: Annotated[float, Field(ge=0, le=1024), AfterValidator(_whole_above_one)] | None = Field(
        default=None, description="a share of one, for several workers on a GPU, or whole ones"
    )
    memory: Annotated[ByteSize, Field(gt=0)] | None = Field(default=None, description="main memory, such as 16GiB")

    @model_validator(mode="after")
    def _says_something(self) -> ResourceEntry:
        if self.cpus is None and self.gpus is None and self.memory is None:
            raise ValueError("asks for nothing; give cpus, gpus or memory")
        return self


class UtilityBound(BaseModel):
    """On which tasks utility is measured, besides the attacked task, and how much of it a defense may lose.

    It says how the standings read the records, and changes no cell.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    tasks: Annotated[tuple[PluginRef, ...], _Many] = Field(
        default=(),
        max_length=500,
        description="of the spec's `tasks`: those with this name and the parameters given here; multiple choice, or "
        "benign prompts, of which utility is 1 less the share that is refused",
    )
    max_loss: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | None = Field(
        default=None,
        description="most that a defense may lose of any of these shares against the undefended victim, 0.02 for two "
        "points: the leaderboard ranks no defense that certainly loses more",
    )

    @model_validator(mode="after")
    def _says_something(self) -> UtilityBound:
        if not self.tasks and self.max_loss is None:
            raise ValueError("says nothing; give tasks, max_loss, or both")
        return self

    def identity(self) -> dict[str, Any]:
        """As JSON data, whatever the order of the tasks."""
        plain = self.model_dump(mode="json")
        return plain | {"tasks": sorted(plain["tasks"], key=canonical_json)}


class Spec(BaseModel):
    """A benchmark: the product of tasks, victims, defenses, attacks, threats and seeds, less what `exclude` names."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    name: str = Field(pattern=SPEC_NAME, max_length=100)
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=40)
    summary: str = Field(default="", max_length=1000, description="one line for people; not part of the hash")
    seeds: Annotated[tuple[_Seed, ...], _Many] = Field(default=(0,), min_length=1, max_length=10_000)
    tasks: _Refs
    victims: _Refs
    defenses: Annotated[tuple[DefenseEntry, ...], _Many, Field(min_length=1, max_length=500)] = (
        DefenseEntry(parts=(PluginRef(name="none"),)),
    )
    attacks: Annotated[tuple[AttackEntry, ...], _Many, Field(min_length=1, max_length=500)]
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
    answers: AnswerSampling = Field(
        default=AnswerSampling(),
        description="of tasks answered in text: how many answers each attack string gets, and how they are drawn",
    )
    attack_draws: PositiveInt = Field(
        default=4,
        le=1000,
        description="of a randomised defense: passes through it that the loss of a candidate is the mean of",
    )
    judge_draws: PositiveInt = Field(
        default=5,
        le=1000,
        description="of a randomised defense: how often each string is judged, with fresh draws; more than half of "
        "them must succeed",
    )
    diagnostics: DiagnosticsExtent = Field(
        default="full",
        description="besides ASR; full: calibration clean and under attack, worst-case accuracy, how far attacks move "
        "activations; light: only what takes no forward (calibration on clean prompts, worst-case accuracy); off: none",
    )
    stop_on_success: bool = Field(default=False, description="stop attacking an example once it has been broken")
    target_asr: float = Field(
        default=0.5, gt=0.0, le=1.0, description="attack success rate that the leaderboard uses as its target"
    )
    judge_calibration: str | None = Field(
        default=None,
        description="file of `harness judge calibrate`, relative to the spec's folder: the judge's errors, which the "
        "ASR is corrected for. Not part of the hash",
    )
    clean_floor: float = Field(
        default=0.9,
        ge=0.0,
        le=1.0,
        description="least clean accuracy (in text: share of clean prompts without a success) with which the "
        "leaderboard ranks a victim; one that never learnt its task is not robust",
    )
    utility: UtilityBound | None = Field(
        default=None,
        description="tasks that show utility, and how much of it a defense may lose and still be ranked; it changes no "
        "cell, but is part of the hash",
    )
    training_threads: PositiveInt = Field(
        default=1,
        le=4096,
        description="torch's threads while models are trained and defenses fitted, whatever --jobs and machine: other "
        "threads give other weights. More than 1 for large models on a CPU",
    )
    step_seconds: PositiveFloat | None = Field(
        default=None,
        description="most seconds for one step of all the examples that run side by side (64 at most); a cell with a "
        "step that takes longer fails, and the run goes on. Not part of the hash",
    )
    resources: Annotated[tuple[ResourceEntry, ...], _Many] = Field(
        default=(), max_length=500, description="what workers get, by victim; not part of the hash"
    )
