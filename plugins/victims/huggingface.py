"""A Hugging Face model as victim: a hub id, a local folder or a preset, fine-tuned on the task or used as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, PositiveFloat, field_validator, model_validator

from harness import (
    Flops,
    MemoryFacts,
    ModelShape,
    Params,
    PluginRef,
    PrepareJob,
    RetrainJob,
    TaskData,
    Victim,
    VictimCard,
    VictimError,
    hookimpl,
    host_field,
    nominal_backward,
    nominal_forward,
    spec_folder_or_name,
)
from plugins.victims._backend_param import BackendChoice, backend_field
from plugins.victims._chat_params import (
    AUTO,
    OFF,
    Chat,
    TemplateArguments,
    carries_template,
    chat_field,
    chat_format,
    chat_remarks,
    check_settings,
    prefill_field,
    system_field,
    template_arguments_field,
    template_hash,
    written_identity,
)
from plugins.victims._huggingface import model_files as model_files
from plugins.victims._huggingface.adapter_files import adapter_content, adapter_folder, adapter_parameters
from plugins.victims._huggingface.fine_tuning import FineTune, fine_tune, trained_share
from plugins.victims._huggingface.gguf_files import TEMPLATE, in_hub_layout, read_gguf
from plugins.victims._huggingface.packaged import PACKAGED, located
from plugins.victims._huggingface.presets import find_preset, smallest_of_family
from plugins.victims._huggingface.pretrained import load_pretrained
from plugins.victims._huggingface.quantization import gives_gradients
from plugins.victims._reasoning_param import ReasoningMarkers, reasoning_field
from plugins.victims._text_lengths import mean_prompt_and_reply_chars, mean_reply_chars

if TYPE_CHECKING:
    from harness import Backend, ChatFormat, HeadName, Origin


class HuggingFace(Victim):
    """A Hugging Face model (hub id, local folder or preset), fine-tuned on the task or used as it is."""

    name = "huggingface"
    paper = "Scaling Trends in Language Model Robustness, arXiv 2407.18213"

    class Params(Params):
        """Identity: what is trained and how.

        A local folder counts by its files' content, a hub id by its commit; paths, `revision`, `device` and
        `backend` do not.

        `dtype` counts as written: ``auto`` means bfloat16 on a GPU and float32 on a CPU, which the record tells;
        write a dtype where machines must agree. Fine-tuning is always in float32.
        """

        model: str = Field(
            min_length=1,
            description="preset (pythia-14m ... pythia-12b, qwen2.5-0.5b ... qwen2.5-14b, smollm2-135m-instruct, "
            "all-minilm-l6-v2), hub id, folder, or GGUF file; a relative path counts from the spec's folder (write "
            "./NAME for a folder called like a preset)",
        )
        revision: str | None = Field(None, description="commit, tag or branch of a hub id; a commit needs no network")
        head: Literal["sequence_classification", "causal_lm"] = Field(
            "sequence_classification",
            description="how a task with labels is answered: by a classification head, or by a language model's label "
            "tokens; a task answered in text takes a language model, whatever is written here",
        )
        fine_tune: FineTune | None = Field(FineTune(), description="how to fine-tune; false: use the model as it is")
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
            "auto", description="of the weights under attack"
        )
        adapter: str | None = Field(
            None,
            min_length=1,
            description="folder or hub id (ID@REVISION) of an adapter of the model, as peft writes it; a relative path "
            "as for model",
        )
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
        pretraining_flops: PositiveFloat | None = Field(
            None, description="pretraining compute, in FLOPs, instead of 6·N·D"
        )

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
                    raise ValueError(f"{name} goes with backend: torch alone")
            return self

        def identity(self) -> dict[str, Any]:
            """The parameters, less folder and revision, for which `fingerprint` stands."""
            data = super().identity()
            del data["revision"]
            for name in ("chat", "system", "prefill", "template_arguments"):
                del data[name]
            data |= written_identity(self)
            for name in ("reasoning", "quantize", "adapter"):
                if getattr(self, name) is None:
                    del data[name]
            if self.adapter is not None:
                data["adapter"] = "local" if model_files.is_local(self.adapter) else self.adapter
            data["model"] = "local" if _is_local(self.model) else _hub_id(self.model)
            return data

        def described(self) -> dict[str, Any]:
            """The parameters, a folder by its path."""
            paths: dict[str, Any] = {"model": Path(self.model)} if _is_local(self.model) else {}
            if self.model.casefold() in PACKAGED:
                paths["model"] = self.model
            if self.adapter is not None and model_files.is_local(self.adapter):
                paths["adapter"] = Path(self.adapter)
            return super().described() | paths

    def family(self) -> str | None:
        """That of the parameters or of a preset; of another model config.json says it."""
        preset = find_preset(self.params.model)
        return self.params.family or (None if preset is None else preset.family)

    def card(self, data: TaskData) -> VictimCard:
        """Facts from the preset table, or from config.json and the header of the weights. Of quantised weights the
        size is that of the model they stand for, or unknown.

        Raises:
            VictimError: a folder without them, or a hub that cannot be reached.
        """
        classes = len(data.labels) if self._head_for(data) == "classification" else None
        preset = find_preset(self.params.model)
        if preset is not None:
            n_params = preset.as_language_model if classes is None else preset.as_classifier(classes)
            body, tokens = preset.non_embedding + preset.embedding, float(preset.pretraining_tokens)
            return self._card(preset.family, n_params, body, tokens, preset.context, language_model=classes is None)
        config = model_files.read_config(self._model, self._revision)
        shapes = model_files.read_shapes(self._model, self._revision)
        if classes == 2 and self.params.fine_tune is None and model_files.class_count(config) == 1:
            classes = 1  # a single output that says yes or no
        n_params = model_files.count_parameters(shapes, config, classes=classes)
        text = config.get("text_config") or config
        context = int(text.get("max_position_embeddings") or text.get("n_positions") or 2048)
        family = str(config.get("model_type", "unknown"))
        quantised = model_files.read_quantization(self._model, self._revision)
        if self.params.adapter is not None and (quantised or self.params.quantize) and n_params is not None:
            n_params += adapter_parameters(self.params.adapter)  # it cannot be merged
        card = self._card(family, n_params, n_params, None, context, language_model=classes is None)
        if gives_gradients(quantised):
            return card
        return replace(card, access="scores")

    def sibling(self, sees: Literal["text", "task"]) -> PluginRef | None:
        """The smallest preset of the family: used as it is for text, prepared like the victim for a task. Of a model
        that is no preset, for text the model itself before any fine-tuning, if it is a language model.
        """
        preset = find_preset(self.params.model)
        params = self.params.model_dump(mode="json", include={"model", "revision", "dtype", "device", "backend"})
        if self.params.quantize is not None:
            params["quantize"] = self.params.quantize
        if preset is not None and preset != (small := smallest_of_family(preset.family)):
            params |= {"model": small.name, "revision": None}
        elif preset is None and (sees == "task" or not model_files.is_language_model(self._model, self._revision)):
            return None
        if sees == "text":
            params |= {"head": "causal_lm", "fine_tune": False}
            if preset is None:  # the same model
                params |= written_identity(self.params)
                params |= {"chat": str(self.params.chat)} if self.params.chat != AUTO else {}
                if self.params.reasoning is not None:
                    params["reasoning"] = list(self.params.reasoning)
        else:
            params |= self.params.model_dump(mode="json", include={"head", "fine_tune"})
            params["fine_tune"] = params["fine_tune"] or False
        return PluginRef(name="huggingface", params=params)

    def fingerprint(self) -> dict[str, str]:
        """Hashes of a folder's files, or the commit of a hub id.

        Raises:
            VictimError: the commit cannot be found out; name it in the spec.
        """
        files = template_hash(self.params.chat)
        own = {} if files or self.params.chat == OFF else {"chat": "the tokenizer's template"}
        adapter = {} if self.params.adapter is None else adapter_content(self.params.adapter)
        if _is_local(self.params.model):
            template = bool(files) or self._carries_template()
            check_settings(self.params.model, self.params, template=template)
            return model_files.content_hashes(self._model) | files | (own if template else {}) | adapter
        hub, preset = _hub_id(self.params.model), find_preset(self.params.model)
        files |= {} if preset is not None and not preset.chat else own
        return {"repository": hub, "commit": model_files.commit_of(hub, self.params.revision)} | files | adapter

    def takes_messages(self, data: TaskData) -> bool:
        """Whether it has a chat template and uses it."""
        return self._head_for(data) != "classification" and self._has_template()

    def remarks(self, data: TaskData) -> list[str]:
        """That a chat model is used without its template, or that the task writes the template's marks as well."""
        if self._head_for(data) == "classification" or not _is_local(self.params.model):
            return []
        return chat_remarks(self.params, Path(self._model), data) if self._carries_template() else []

    def estimate(self, data: TaskData) -> float:
        """Nominal compute of fine-tuning, in FLOPs."""
        config: FineTune | None = self.params.fine_tune
        if config is None or not data.train:
            return 0.0
        card = self.card(data)
        tokens = mean_prompt_and_reply_chars(data) / card.chars_per_token
        rows = min(len(data.train), config.train_examples)
        trained = round(tokens * (config.steps * config.batch_size if config.steps else config.epochs * rows))
        changed = None if config.lora is None else 0  # an adapter's own parameters are few
        return nominal_forward(card.n_params, trained) + nominal_backward(card.n_params, trained, changed)

    def memory(self, data: TaskData) -> MemoryFacts | None:
        """What its need of memory follows from: the preset table or config.json, and how it is trained and used."""
        training: FineTune | None = self.params.fine_tune
        preset = find_preset(self.params.model)
        config = {} if preset else model_files.read_config(self._model, self._revision)
        shape, n_params = preset.shape if preset else ModelShape.from_config(config), self.card(data).n_params
        if shape is None or n_params is None:
            return None
        return MemoryFacts(
            n_params,
            shape,
            batch=training.batch_size if training else 0,
            states=2.0 if training and training.optimizer == "adamw" else 0.0,
            trained=trained_share(training, shape, n_params),
            reads_vocabulary=self._head_for(data) != "classification",
            reply_tokens=None if data.labels else mean_reply_chars(data) / self.card(data).chars_per_token,
            dtype=self.params.dtype,
            device=self.params.device,
            engine=self.params.backend != "torch",
        )

    def prepare(self, job: PrepareJob) -> Flops:
        """Fine-tune in float32 and write model, tokenizer, `training.json` (rows used, dropped). A model that is used
        as it is stays where it lies, and is named by what it holds.

        Raises:
            VictimError: the model cannot be loaded or trained, lacks the head that is to be used as it is, has other
                classes than those asked for, or there is nothing to train it on.
        """
        from harness import Base, Learner, name_base, named_seed, resolve_device, save_description

        config: FineTune | None = self.params.fine_tune
        if config is not None and not job.data.train:
            raise VictimError(f"{self.params.model}: no training data; write fine_tune: false to use it as it is")
        lora = config.lora if config is not None else None
        head, origin = self._head_for(job.data), self._origin()
        if config is not None and lora is None:
            self._check_trainable()
        model, tokenizer = load_pretrained(
            self.params.model,
            origin.source,
            origin.revision,
            head,
            job.data.labels,
            trained=config is not None,
            seed=named_seed(job.seed, "new head"),
            adapter=origin.adapter,
            quantize=self.params.quantize if lora is not None else None,
            device=resolve_device(self.params.device)[0],
        )
        learner = Learner(model)
        if lora is not None:
            base = Base(origin.content, None, lora.model_dump(mode="json"))
            classifies, seed = head == "classification", named_seed(job.seed, "adapter")
            learner = Learner.adapter(model, lora, base, classifies=classifies, seed=seed)
        spent, notes = Flops(), {"rows": 0, "dropped": 0}
        tokenizer.save_pretrained(str(job.folder))  # with its chat template
        if config is not None:
            spent, notes = fine_tune(
                learner.model,
                tokenizer,
                config,
                job,
                head,
                device=self.params.device,
                name=self.params.model,
                chat=self._chat(job.folder, head),
            )
        if config is not None:
            learner.save(job.folder)
        else:
            save_description(model, job.folder)
            name_base(job.folder, origin.content)
        (job.folder / "training.json").write_text(json.dumps(notes) + "\n", encoding="utf-8")
        return spent

    def open(self, folder: Path, data: TaskData) -> Backend:
        """Load a prepared or defended model.

        Raises:
            VictimError: no such model, device or dtype.
        """
        from harness import open_folder

        head = self._head_for(data)
        chat = self._chat(folder, head)
        backend = open_folder(
            folder,
            head,
            data.labels,
            dtype=self.params.dtype,
            device=self.params.device,
            backend=self.params.backend,
            chat=chat,
            parse_special_tokens=data.parse_special_tokens,
            quantize=self.params.quantize,
            origin=self._origin(),
        )
        backend.reasoning = self.params.reasoning if chat is None else chat.reasoning
        return backend

    def _chat(self, folder: Path, head: HeadName) -> ChatFormat | None:
        """How prompts are put to the model in a folder; a classifier reads them as they are."""
        if head == "classification":
            check_settings(self.params.model, self.params, template=self.params.chat != OFF)
            return None
        return chat_format(self.params.model, self.params, folder, self.params.reasoning)

    retrains_views = True

    def retrain(self, job: RetrainJob) -> Flops:
        """Train a prepared model in float32, as `harness.retrain` does; its weights may lie elsewhere.

        Raises:
            VictimError: as `harness.retrain`.
        """
        from harness import retrain

        return retrain(
            job.model,
            job.folder,
            job.rows,
            job.config,
            labels=job.data.labels,
            seed=job.seed,
            scratch=job.scratch,
            progress=job.progress,
            device=self.params.device,
            origin=self._origin(),
            quantize=self.params.quantize,
        )

    def _head_for(self, data: TaskData) -> HeadName:
        if not data.labels:
            return "generation"
        return "classification" if self.params.head == "sequence_classification" else "label_tokens"

    @property
    def _revision(self) -> str | None:
        revision: str | None = self.params.revision
        return revision

    def _has_template(self) -> bool:
        if self.params.chat != AUTO:
            return bool(self.params.chat != OFF)
        if _is_local(self.params.model):
            return self._carries_template()
        preset = find_preset(self.params.model)
        return preset.chat if preset else model_files.has_chat_template(self.params.model, self._revision)

    def _carries_template(self) -> bool:
        """Whether the tokenizer of a local model has a chat template."""
        if (file := model_files.local_gguf(self._model)) is not None:
            return bool(read_gguf(file)[0][TEMPLATE])
        return carries_template(model_files.local_folder(self._model))

    def _source(self) -> tuple[str, str | None]:
        if _is_local(self.params.model):
            if (file := model_files.local_gguf(self._model)) is not None:
                return str(in_hub_layout(file)), None
            folder = model_files.local_folder(self._model)
            model_files.check_no_adapter(folder)
            return str(folder), None
        hub = _hub_id(self.params.model)
        return hub, model_files.commit_of(hub, self._revision)

    @property
    def _model(self) -> str:
        """The model's path or hub id, where a name stands for one that an installed package brings."""
        return located(self.params.model)

    def _origin(self) -> Origin:
        from harness import Origin

        folder = None if self.params.adapter is None else adapter_folder(self.params.adapter)
        return Origin(*self._source(), self.fingerprint(), self.params.model, folder)

    def _check_trainable(self) -> None:
        """Raise VictimError where the weights cannot be trained, which is known before they are read."""
        if model_files.read_quantization(self._model, self._revision) is not None:
            raise VictimError(
                f"{self.params.model}: its weights are quantised, and cannot be trained; write fine_tune: false, train "
                "an adapter (fine_tune: {lora: {}}), or name the model that it was made from"
            )

    def _card(
        self,
        family: str,
        n_params: int | None,
        body: int | None,
        tokens: float | None,
        context: int,
        *,
        language_model: bool,
    ) -> VictimCard:
        tokens = self.params.pretraining_tokens or tokens
        flops = self.params.pretraining_flops or (6.0 * body * tokens if body and tokens else None)
        return VictimCard(
            self.params.family or family, n_params, flops, "latent", context, language_model=language_model
        )


def _is_local(model: str) -> bool:
    if model.casefold() in PACKAGED:
        return located(model) != _hub_id(model)
    return find_preset(model) is None and model_files.is_local(model)


def _hub_id(model: str) -> str:
    preset = find_preset(model) or PACKAGED.get(model.casefold())
    return preset.hub if preset else model


@hookimpl
def harness_register_victims(register: Callable[[type[Victim]], None]) -> None:
    """Register `huggingface`."""
    register(HuggingFace)
