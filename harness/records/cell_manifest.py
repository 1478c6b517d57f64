"""The manifest of one cell, `cell.json`. pydantic, so that a reader of records gets types or one clear error."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from harness.errors import one_line
from harness.records import VERSION

Line = Annotated[str, AfterValidator(one_line)]
"""A text that stands in lines and tables; parameters and data that it is made of may hold line breaks."""


class Compute(BaseModel):
    """FLOPs under both conventions; None where unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    nominal: float | None = 0.0
    executed: float | None = 0.0


class PluginRecord(BaseModel):
    """A plugin and the parameters that it was used with."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    name: str
    label: Line  # name with the parameters that differ from the default
    params: dict[str, Any]
    distribution: str
    version: str


class PretrainingFacts(BaseModel):
    """What the victim learnt before it saw any task, where that was done here."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    artifact: str
    compute: Compute  # all of it
    robust: Compute  # of that, what hardens it: perturbed text, and passes beyond the plain loss
    notes: dict[str, Any] = {}  # what was drawn, when and how strong


class VictimFacts(BaseModel):
    """Size and provenance of the victim; None where unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    family: Line
    n_params: int | None
    n_params_non_embedding: int | None
    pretraining_flops: float | None
    preparation: Compute  # fine-tuning, or training from scratch
    trained_against: Line = ""  # what in that hardens it against attacks, in words; "" where nothing does
    # Divides other compute: pretraining if there was any, else preparation (nominal). None: a model used as it is, of
    # whose making nothing is known.
    reference_flops: float | None
    artifact: str
    content: str = ""  # hash of what else identifies the model: a folder's files, a commit; "" where nothing does
    pretraining: PretrainingFacts | None = None  # None, and left out of the file, where there was none here

    @model_serializer(mode="wrap")
    def _without_no_pretraining(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = serialize(self)
        return {name: value for name, value in dumped.items() if name != "pretraining" or value is not None}


class PartFacts(BaseModel):
    """One defense of a stack, or the only one."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    defense: PluginRecord
    sort: Literal["trained", "guard", "transform", "conversation", "vote"]
    offers: str  # to gradient attacks: "victim", "surrogate", "straight_through", "none"; "exact" of trained weights
    randomised: bool = False
    reached: int | None = None  # clean prompts (of a guard of answers: answers) that a guard looked at
    blocked: int | None = None  # of them, those it refused: its false positives
    unread: int | None = None  # of them, those on which what the guard's model said could not be read
    fit: Compute = Compute()  # what fitting it took


class CertificateFacts(BaseModel):
    """What a vote certifies: no change of the prompt within the radius changes the answer, but with chance alpha."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    unit: str  # of the radius
    alpha: float  # chance per prompt that a stated radius is wrong
    samples: int  # copies per prompt
    radii: list[int]  # per clean prompt; -1 where its label is not certified at all
    compute: Compute = Compute()


class DefenseFacts(BaseModel):
    """What the defense cost until this checkpoint (cumulative; fine-tuning of the victim excluded)."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    round: int | None = None
    search: Compute = Compute()
    training: Compute = Compute()
    # by artifact: what it took to make ready the models that its training attacks ask; those that its parts ask while
    # they are fitted or answer are among the cell's auxiliary models
    search_models: dict[str, Compute] = {}
    artifact: str | None = None
    notes: dict[str, Any] = {}
    against: dict[str, str] = {}  # what it was trained against: "attack", "threat"; empty if against nothing
    parts: list[PartFacts] = []  # in the order in which a prompt meets them; empty without a defense
    adaptive: bool = True  # whether the attack searched against the defended victim
    attack_draws: int = 1  # passes through a randomised defense that the loss of a candidate is the mean of
    judge_draws: int = 1  # fresh draws that each string is judged by; a success is more than half of them
    fit: Compute = Compute()  # what fitting its guards took
    per_query: Compute = Compute()  # what it adds to answering a clean prompt, mean
    # what the victim's own answer takes (of a vote, one copy's), mean over clean prompts that reach it; None where no
    # one said, as in older records
    per_answer: Compute | None = None
    benign_clean: int | None = None  # clean prompts, answered in text, that a good victim answers
    over_refused: int | None = None  # of them, those refused, by a guard or by the victim
    certificate: CertificateFacts | None = None
    diagnostics: dict[str, Any] = {}


class AuxiliaryFacts(BaseModel):
    """A model that an attack or a judge asked."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    victim: PluginRecord
    n_params: int | None
    preparation: Compute  # what it took to make it ready; counted as no compute of the attack
    artifact: str
    content: str = ""  # as of the victim


class AnswersRecord(BaseModel):
    """How answers to attack strings were drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    samples: int  # to each string
    temperature: float
    top_p: float
    max_tokens: int | None  # longest answer; None: the task's own


class TuningRecord(BaseModel):
    """The search that an attack's parameters come from (`harness tune`), as a spec's entry and a record have it."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    flops: Annotated[PositiveFloat, Field(allow_inf_nan=False)]  # nominal, of all trials: clean check, attack, judging
    per_example: Annotated[PositiveFloat, Field(allow_inf_nan=False)]  # budget at which candidates were compared
    examples: PositiveInt  # training examples that each candidate attacked, of all cells together
    trials: PositiveInt  # candidates that were tried
    key: str = Field(pattern="^[0-9a-f]{8,64}$")  # of the search; cells with one key share it, and it counts once


class UtilityRecord(BaseModel):
    """What the spec says of utility; it changes no number, but which rows have a rank."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    tasks: list[Line]  # labels of the tasks that show it, besides the attacked task itself
    max_loss: float | None  # of a share, against the undefended victim; None: only shown


class CellRecord(BaseModel):
    """The whole of `cell.json`: what the cell is, how it ended, what it cost to prepare; its steps stand next to it."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    format: int = VERSION
    key: str
    status: Literal["done", "failed", "skipped"]
    error: Line | None = None  # one line: what went wrong (failed), or why there is nothing to measure (skipped)
    spec_name: str
    spec_version: str
    spec_hash: str
    task: PluginRecord
    victim: PluginRecord
    defense: PluginRecord
    attack: PluginRecord
    judge: PluginRecord
    judge_calibration: dict[str, Any] | None = None  # what the spec says of its errors, as of `JudgeCalibration`
    threat: dict[str, Any]
    threat_label: Line
    answers: AnswersRecord | None = None  # None: one greedy answer of the task's own length
    seed: int
    stop_on_success: bool
    target_asr: float
    clean_floor: float = 0.9  # with a lower clean accuracy a victim has no rank
    utility: UtilityRecord | None = None  # what a defense may lose of it with a rank
    accounting: str
    data_hash: str
    data_source: dict[str, str] = {}  # where the data came from, and how many rows were left out or changed, by reason
    search: str = ""  # what the attack did is known by: cells with the same one differ in their judge alone
    labels: list[Line] = []  # the task's, by index, as `label`, `target` and `predicted` of the tables count them
    task_kind: Literal["labels", "text"] = "labels"
    benign: bool = False  # prompts that a good victim answers: the attacker wants a refusal
    space: Literal["text", "latent"] = "text"  # what the attack changes; latent attacks never rank with text ones
    tuning: TuningRecord | None = None  # the search that the attack's parameters come from; None: there was none
    attack_facts: dict[str, Any] = {}  # what the attack says of itself, e.g. where the strings come from it replays
    auxiliary: dict[str, AuxiliaryFacts] = {}  # models asked besides the victim, by role; a judge's begin with "judge:"
    victim_facts: VictimFacts | None = None  # None only when preparation failed
    defense_facts: DefenseFacts | None = None
    n_clean: int = 0  # clean examples judged
    n_clean_correct: int = 0  # right label; of answers in text: no success of the attacker
    # of the clean examples, those that got neither an answer nor a refusal; 0 in older records
    n_clean_missing: int = 0
    # of the clean examples, those whose answers a judging model could not judge; right in older records
    n_clean_unparseable: int = 0
    n_too_long: int = 0  # of the clean examples, those too long for the context: nobody asked, counted as not right
    n_truncated: int = 0  # of the clean examples, those cut off to fit the context, as the spec asked
    n_attacked: int = 0
    # strings that the victim was asked about; of them those that got neither an answer nor a refusal, and those whose
    # answers a judging model could not judge. 0 in older records
    n_asked: int = 0
    n_missing: int = 0
    n_unparseable: int = 0
    clean_compute: Compute = Compute()
    attack_steps: int = 0  # full budget: steps asked of every attacked example
    versions: dict[str, str] = {}
    host: dict[str, Any] = {}
    agreement: dict[str, Any] = {}
    started: str = ""  # UTC, ISO 8601
    seconds: float = 0.0

    @property
    def samples(self) -> int:
        """How many answers each attack string got that were drawn and all recorded; 0 where answers are greedy."""
        return 0 if self.answers is None or self.answers.temperature == 0 else self.answers.samples

    @property
    def clean_accuracy(self) -> float | None:
        """Share of the clean examples that are right, of those that got a refusal or an answer that could be judged;
        None where none did, or all are too long for the context.
        """
        told = self.n_clean_told
        return self.n_clean_correct / told if told > self.n_too_long else None

    @property
    def n_clean_told(self) -> int:
        """Of the clean examples, those that got a refusal or an answer that could be judged; or are too long."""
        return self.n_clean - self.n_clean_missing - self.n_clean_unparseable
