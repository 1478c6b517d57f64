"""The parameters of the victim `huggingface`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, field_validator, model_validator

from harness import Params, host_field, spec_folder_or_name
from plugins.victims._backend_param import BackendChoice, backend_field
from plugins.victims._chat_params import (
    Chat,
    TemplateArguments,
    chat_field,
    prefill_field,
    system_field,
    template_arguments_field,
    written_identity,
)
from plugins.victims._huggingface import model_files as model_files
from plugins.victims._huggingface.fine_tuning import FineTune
from plugins.victims._huggingface.given_model import hub_id, is_local
from plugins.victims._huggingface.packaged import PACKAGED
from plugins.victims._huggingface.published.presets import find_preset
from plugins.victims._pretraining.params import Backbone, Pretrain
from plugins.victims._reasoning_param import ReasoningMarkers, reasoning_field


class HuggingFaceParams(Params):
    """Identity: what is trained and how.

    A local folder counts by its files' content, a hub id by its commit; paths, `revision`, `device` and
    `backend` do not.

    `dtype` counts as written: ``auto`` means bfloat16 on a GPU and float32 on a CPU, which the record tells;
    write a dtype where machines must agree. Fine-tuning is always in float32.
    """

    model: str = Field(
        min_length=1,
        description="preset (pythia-14m ... pythia-12b, qwen2.5-0.5b ... qwen2.5-14b, the same with -instruct, "
        "llama-3.2-1b-instruct, llama-3.2-3b-instruct, llama-3.1-8b-instruct, mistral-7b-instruct-v0.3, gemma-2-2b-it, "
        "gemma-2b, smollm2-135m-instruct, all-minilm-l6-v2; defended: zephyr_7b_r2d2, llama-3-8b-instruct-rr, "
        "mistral-7b-instruct-rr, robust-llama3-8b-instruct), hub id, folder, or GGUF file; a relative path starts at "
        "the spec's folder (write ./NAME for a folder called like a preset)",
    )
    revision: str | None = Field(
        None,
        description="commit, tag or branch of a hub id; a commit needs no network; by default the preset's own commit, "
        "where it has one, else the newest",
    )
    head: Literal["sequence_classification", "causal_lm"] = Field(
        "sequence_classification",
        description="how a task with labels is answered: by a classification head, or by a language model's label "
        "tokens; a task answered in text takes a language model, whatever is written here",
    )
    fine_tune: FineTune | None = Field(FineTune(), description="how to fine-tune; false: use the model as it is")
    pretrain: Pretrain | None = Field(
        None,
        description="pretraining on text without labels, before the task, upon the model's own; one for all tasks; by "
        "default none",
    )
    backbone: Backbone = Field(
        "trained", description="frozen: fine-tuning trains the classification head alone, and the model stays as it is"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="precision of the weights under attack"
    )
    adapter: str | None = Field(
        None,
        min_length=1,
        description="folder or hub id of an adapter of the model, as peft writes it; a relative path as for model",
    )
    adapter_revision: str | None = Field(None, description="commit, tag or branch of an adapter's hub id")
    quantize: Literal["int8", "nf4", "fp4", "int8_torchao"] | None = Field(
        None,
        description="how to quantise the weights under attack: int8, nf4, fp4 by bitsandbytes, int8_torchao "
        "(weights alone) by torchao; dtype is what they compute in",
    )
    device: str = host_field(
        "auto",
        description="auto, cpu, cuda, cuda:1; spread: over all GPUs (under attack), if it fits on none",
    )
    backend: BackendChoice = backend_field()
    chat: Chat = chat_field()
    system: str = system_field()
    prefill: str = prefill_field()
    template_arguments: TemplateArguments = template_arguments_field()
    reasoning: ReasoningMarkers | None = reasoning_field()
    family: str | None = Field(
        None, description="name of the scaling curve that the model belongs to; by default the model's own family"
    )
    pretraining_tokens: PositiveFloat | None = Field(
        None, description="tokens of pretraining, D of its compute 6·N·D; by default the preset's"
    )
    pretraining_flops: PositiveFloat | None = Field(None, description="pretraining compute, in FLOPs, instead of 6·N·D")

    @field_validator("model")
    @classmethod
    def _from_the_spec(cls, value: str) -> str:
        if find_preset(value) or value.casefold() in PACKAGED:
            return value
        explicit = value.startswith(("/", "./", "../", "~")) or not model_files.is_gguf(value)
        return spec_folder_or_name(value if explicit else f"./{value}")

    @field_validator("adapter")
    @classmethod
    def _adapter_from_the_spec(cls, value: str | None) -> str | None:
        return None if value is None else spec_folder_or_name(value)

    @field_validator("fine_tune", mode="before")
    @classmethod
    def _yes_or_no(cls, value: Any) -> Any:
        return {True: {}, False: None}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _torch_alone(self) -> Self:
        lora = self.fine_tune is not None and self.fine_tune.lora is not None
        for name, given in (("quantize", self.quantize), ("adapter", self.adapter), ("lora", lora)):
            if given and self.backend != "torch":
                raise ValueError(f"{name} only works with backend: torch")
        if self.adapter_revision is not None and (self.adapter is None or model_files.is_local(self.adapter)):
            raise ValueError("adapter_revision is only for an adapter's hub id; leave it out")
        return self

    @model_validator(mode="after")
    def _trained_how(self) -> Self:
        lora = self.fine_tune is not None and self.fine_tune.lora is not None
        if (self.pretrain is not None or self.backbone == "frozen") and self.fine_tune is None:
            raise ValueError("pretrain and backbone: frozen need fine_tune: without it a model is used as it is")
        for name, given in (("adapter", self.adapter), ("quantize", self.quantize), ("fine_tune.lora", lora)):
            if given and self.pretrain is not None:
                raise ValueError(f"pretrain trains all weights, and {name} leaves them as they are: leave out either")
        if self.backbone == "frozen" and (lora or self.head == "causal_lm"):
            raise ValueError(
                "backbone: frozen trains a classification head alone: leave out fine_tune.lora and head: causal_lm"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """The parameters, less folder and revision, for which `fingerprint` stands."""
        data = super().identity()
        del data["revision"], data["adapter_revision"]
        for name in ("chat", "system", "prefill", "template_arguments"):
            del data[name]
        data |= written_identity(self)
        for name in ("reasoning", "quantize", "adapter", "pretrain"):
            if getattr(self, name) is None:
                del data[name]
        if self.backbone == "trained":
            del data["backbone"]
        if self.adapter is not None:
            data["adapter"] = "local" if model_files.is_local(self.adapter) else self.adapter
        data["model"] = "local" if is_local(self.model) else hub_id(self.model)
        return data

    def described(self) -> dict[str, Any]:
        """The parameters, a folder by its path."""
        paths: dict[str, Any] = {"model": Path(self.model)} if is_local(self.model) else {}
        if self.model.casefold() in PACKAGED:
            paths["model"] = self.model
        if self.adapter is not None and model_files.is_local(self.adapter):
            paths["adapter"] = Path(self.adapter)
        return super().described() | paths
