"""A Hugging Face model as victim: a hub id, a local folder or a preset, fine-tuned on the task or used as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness import (
    Flops,
    MemoryFacts,
    Messages,
    PluginRef,
    PrepareJob,
    PretrainCost,
    Pretraining,
    PretrainJob,
    RetrainJob,
    TaskData,
    Victim,
    VictimCard,
    VictimError,
    hookimpl,
    nominal_backward,
    nominal_forward,
)
from plugins.victims._chat_params import AUTO, chat_remarks, written_identity
from plugins.victims._huggingface.content_hashes import file_hash
from plugins.victims._huggingface.fine_tuning import FineTune, fine_tune
from plugins.victims._huggingface.given_model import GivenModel, hub_id
from plugins.victims._huggingface.model_facts import memory_facts, model_card
from plugins.victims._huggingface.params import HuggingFaceParams
from plugins.victims._huggingface.pretrained import load_pretrained
from plugins.victims._huggingface.published.defended import hardened_by
from plugins.victims._huggingface.published.presets import find_preset, smallest_of_family
from plugins.victims._pretraining.params import ROBUST, Pretrain
from plugins.victims._pretraining.texts import read_texts
from plugins.victims._text_lengths import mean_prompt_and_reply_chars

if TYPE_CHECKING:
    from harness import Backend, HeadName


class HuggingFace(Victim):
    """A Hugging Face model (hub id, local folder or preset), fine-tuned on the task or used as it is."""

    name = "huggingface"
    paper = "Scaling Trends in Language Model Robustness, arXiv 2407.18213"

    Params = HuggingFaceParams

    def family(self) -> str | None:
        """That of the parameters or of a preset; of another model config.json says it."""
        preset = find_preset(self.params.model)
        return self.params.family or (None if preset is None else preset.family)

    @property
    def _given(self) -> GivenModel:
        return GivenModel(self.params)

    def card(self, data: TaskData) -> VictimCard:
        """Facts from the preset table, or from config.json and the header of the weights. Of quantised weights the
        size is that of the model they stand for, or unknown.

        Raises:
            VictimError: a folder without them, or a hub that cannot be reached.
        """
        card = model_card(self._given, len(data.labels) if self._head_for(data) == "classification" else None)
        stage = self.pretraining()
        if stage is None or card.pretraining_flops is None:  # what is unknown stays so
            return card
        return replace(card, pretraining_flops=card.pretraining_flops + stage.flops)

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
        elif preset is None and (sees == "task" or not self._given.is_language_model):
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

    def trained_against(self, data: TaskData) -> str:
        """The defense in the weights of a published model or adapter, known by its hub id, and perturbed text if it was
        pretrained on that here.
        """
        published = "" if self._given.is_local else hardened_by(hub_id(self.params.model), self.params.adapter)
        robust = self.params.pretrain is not None and self.params.pretrain.is_robust
        return "; ".join(filter(None, [published, ROBUST if robust else ""]))

    def fingerprint(self) -> dict[str, str]:
        """Hashes of a folder's files, or the commit of a hub id.

        Raises:
            VictimError: the commit cannot be found out; name it in the spec.
        """
        params: Pretrain | None = self.params.pretrain
        if params is None or params.file is None:
            return self._given.fingerprint()
        if not params.file.is_file():
            raise VictimError(f"pretrain.file: {params.file}: no such file; correct the path")
        return self._given.fingerprint() | {"text to pretrain on": file_hash(params.file)}

    def files_beside_spec(self) -> tuple[Path, ...]:
        """The file of a chat template."""
        return (self.params.chat,) if isinstance(self.params.chat, Path) else ()

    def takes_messages(self, data: TaskData) -> bool:
        """Whether it has a chat template and uses it."""
        return self._head_for(data) != "classification" and self._given.has_template()

    def check_messages(self, data: TaskData, messages: Messages) -> None:
        """Put the messages through the template, where it is here or on the hub."""
        chat = self._given.planned_chat()
        if chat is not None:
            chat.render(messages)

    def remarks(self, data: TaskData) -> list[str]:
        """That a chat model is used without its template, or that the task writes the template's marks as well."""
        given = self._given
        if self._head_for(data) == "classification" or not given.is_local:
            return []
        return chat_remarks(self.params, Path(given.place), data) if given.carries_template() else []

    def pretraining(self) -> Pretraining | None:
        """Pretraining upon the model's own, if the parameters ask for it."""
        params: Pretrain | None = self.params.pretrain
        if params is None:
            return None
        size = model_card(self._given, None if self._given.is_language_model else 1).n_params
        flops = params.tokens * (nominal_forward(size, 1) + nominal_backward(size, 1))
        identity = {"model": self.params.identity()["model"], "pretrain": params.made_of()}
        return Pretraining(identity, flops, params.tasks, params.seed)

    def pretrain(self, job: PretrainJob) -> PretrainCost:
        """Train the model further on text without labels.

        Raises:
            VictimError: as `prepare`, or there is no text.
        """
        from plugins.victims._huggingface.pretraining import pretrain_further

        params: Pretrain = self.params.pretrain
        self._given.check_trainable()
        return pretrain_further(
            self._given.origin(),
            read_texts(params, job.tasks),
            params,
            job,
            causal=self._given.is_language_model,
            device=self.params.device,
            name=self.params.model,
        )

    def estimate(self, data: TaskData) -> float:
        """Nominal compute of fine-tuning, in FLOPs."""
        config: FineTune | None = self.params.fine_tune
        if config is None or not data.train:
            return 0.0
        card = self.card(data)
        tokens = mean_prompt_and_reply_chars(data) / card.chars_per_token
        rows = min(len(data.train), config.train_examples)
        trained = round(tokens * (config.steps * config.batch_size if config.steps else config.epochs * rows))
        if self.params.backbone == "frozen":  # gradients end at the head, whose parameters are few
            return nominal_forward(card.n_params, trained)
        changed = None if config.lora is None else 0  # an adapter's own parameters are few
        return nominal_forward(card.n_params, trained) + nominal_backward(card.n_params, trained, changed)

    def memory(self, data: TaskData) -> MemoryFacts | None:
        """What its need of memory follows from: the preset table or config.json, and how it is trained and used."""
        return memory_facts(self._given, self.card(data), data)

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
        head, origin = self._head_for(job.data), self._given.origin()
        frozen = self.params.backbone == "frozen"
        if frozen and head != "classification":
            raise VictimError(
                f"{self.params.model}: backbone: frozen trains a classification head, and this task is answered in "
                "text; write backbone: trained"
            )
        if config is not None and lora is None:
            self._given.check_trainable()
        model, tokenizer = load_pretrained(
            self.params.model,
            origin.source if job.pretrained is None else str(job.pretrained),
            origin.revision if job.pretrained is None else None,
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
                chat=self._given.chat(job.folder, head),
                frozen=frozen,
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
        chat = self._given.chat(folder, head)
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
            origin=self._given.origin(),
        )
        backend.reasoning = self.params.reasoning if chat is None else chat.reasoning
        return backend

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
            origin=self._given.origin(),
            quantize=self.params.quantize,
        )

    def _head_for(self, data: TaskData) -> HeadName:
        if not data.labels:
            return "generation"
        return "classification" if self.params.head == "sequence_classification" else "label_tokens"


@hookimpl
def harness_register_victims(register: Callable[[type[Victim]], None]) -> None:
    """Register `huggingface`."""
    register(HuggingFace)
