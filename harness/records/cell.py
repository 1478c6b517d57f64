"""The manifest of one cell, `cell.json`. pydantic, so that a reader of records gets types or one clear error."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.records.schema import VERSION


class Compute(BaseModel):
    """FLOPs under both conventions; None where unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    nominal: float | None = 0.0
    executed: float | None = 0.0


class PluginRecord(BaseModel):
    """A plugin as it was used."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    label: str  # name with the parameters that differ from the default
    params: dict[str, Any]
    distribution: str
    version: str


class VictimFacts(BaseModel):
    """Size and provenance of the victim; None where unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    family: str
    n_params: int | None
    n_params_non_embedding: int | None
    pretraining_flops: float | None
    preparation: Compute  # fine-tuning, or training from scratch
    # Divides other compute: pretraining if there was any, else preparation (nominal). None: a model used as it is, of
    # whose making nothing is known.
    reference_flops: float | None
    artifact: str


class DefenseFacts(BaseModel):
    """What the defense cost until this checkpoint (cumulative; fine-tuning of the victim excluded)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    round: int | None = None
    search: Compute = Compute()
    training: Compute = Compute()
    artifact: str | None = None
    notes: dict[str, Any] = {}
    against: dict[str, str] = {}  # what it was trained against: "attack", "threat"; empty if against nothing


class AuxiliaryFacts(BaseModel):
    """A model that an attack or a judge asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    victim: PluginRecord
    n_params: int | None
    preparation: Compute  # what it took to make it ready; counted as no compute of the attack
    artifact: str


class CellRecord(BaseModel):
    """Everything about a cell but its steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = VERSION
    key: str
    status: Literal["done", "failed", "skipped"]
    error: str | None = None  # one line: what went wrong (failed), or why there is nothing to measure (skipped)
    spec_name: str
    spec_version: str
    spec_hash: str
    task: PluginRecord
    victim: PluginRecord
    defense: PluginRecord
    attack: PluginRecord
    judge: PluginRecord
    threat: dict[str, Any]
    threat_label: str
    seed: int
    stop_on_success: bool
    target_asr: float
    accounting: str
    data_hash: str
    search: str = ""  # what the attack did is known by: cells with the same one differ in their judge alone
    task_kind: Literal["labels", "text"] = "labels"
    benign: bool = False  # prompts that a good victim answers: the attacker wants a refusal
    space: Literal["text", "latent"] = "text"  # what the attack changes; latent attacks are not ranked beside text ones
    attack_facts: dict[str, Any] = {}  # what the attack says of itself, e.g. where the strings come from it replays
    auxiliary: dict[str, AuxiliaryFacts] = {}  # models asked besides the victim, by role; a judge's begin with "judge:"
    victim_facts: VictimFacts | None = None  # None only when preparation failed
    defense_facts: DefenseFacts | None = None
    n_clean: int = 0  # clean examples judged
    n_clean_correct: int = 0  # right label; of answers in text: no success of the attacker
    n_truncated: int = 0  # of the clean examples, those cut off to fit the context, as the spec asked
    n_attacked: int = 0
    clean_compute: Compute = Compute()
    attack_steps: int = 0  # full budget: steps asked of every attacked example
    versions: dict[str, str] = {}
    host: dict[str, Any] = {}
    agreement: dict[str, Any] = {}
    started: str = ""  # UTC, ISO 8601
    seconds: float = 0.0
