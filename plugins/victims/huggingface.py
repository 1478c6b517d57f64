"""Any Hugging Face model as victim: a hub id, a local folder or a preset; fine-tuned on the task or used as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from harness import (
    Example,
    Flops,
    MemoryFacts,
    ModelShape,
    Params,
    PluginRef,
    PrepareJob,
    TaskData,
    TrainConfig,
    Victim,
    VictimCard,
    VictimError,
    hookimpl,
    host_field,
    nominal_backward,
    nominal_forward,
)
from plugins.victims import _model_files as sources
from plugins.victims._presets import find_preset, smallest
from plugins.victims._text_lengths import mean_length, mean_reply

if TYPE_CHECKING:
    from harness import Backend, HeadName


class FineTune(TrainConfig):
    """Fine-tuning on the task; the defaults are the study's."""

    train_examples: PositiveInt = Field(20_000, description="at most so many training examples, drawn by the seed")
    too_long: Literal["error", "drop"] = Field(
        "error", description="what to do with examples longer than the context; nothing is ever cut off"
    )


class HuggingFace(Victim):
    """A Hugging Face model, fine-tuned on the task or used as it is."""

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
            description="preset (pythia-14m ... pythia-12b, qwen2.5-0.5b ... qwen2.5-14b), hub id, or folder "
            "(write ./NAME for a folder called like a preset)",
        )
        revision: str | None = Field(None, description="commit, tag or branch of a hub id; a commit needs no network")
        head: Literal["sequence_classification", "causal_lm"] = Field(
            "sequence_classification",
            description="of a task with labels: a classification head, or a language model's label tokens; a task "
            "that is answered in text takes a language model, whatever is written here",
        )
        fine_tune: FineTune | None = Field(FineTune(), description="how to fine-tune; false: use the model as it is")
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="when under attack")
        device: str = host_field(
            "auto",
            description="auto, cpu, cuda, cuda:1; spread: over all GPUs (under attack), if it fits on none",
        )
        backend: Literal["torch", "vllm", "auto"] = host_field(
            "torch", description="who answers: torch; vllm (torch gives gradients); auto: whichever is faster here"
        )
        family: str | None = Field(None, description="models on one scaling curve; by default told by the model")
        pretraining_tokens: PositiveFloat | None = Field(None, description="D of the pretraining compute 6·N·D")
        pretraining_flops: PositiveFloat | None = Field(None, description="pretraining compute itself")

        @field_validator("fine_tune", mode="before")
        @classmethod
        def _yes_or_no(cls, value: Any) -> Any:
            return {True: {}, False: None}[value] if isinstance(value, bool) else value

        def identity(self) -> dict[str, Any]:
            """See the class: the fingerprint stands for folder and revision."""
            data = super().identity()
            del data["revision"]
            data["model"] = "local" if _is_local(self.model) else _hub_id(self.model)
            return data

    def card(self, data: TaskData) -> VictimCard:
        """Facts from the preset table, or from config.json and the header of the weights.

        Raises:
            VictimError: a folder without them, or a hub that cannot be reached.
        """
        classes = len(data.labels) if self._head_for(data) == "classification" else None
        preset = None if _is_local(self.params.model) else find_preset(self.params.model)
        if preset is not None:
            n_params = preset.as_language_model if classes is None else preset.as_classifier(classes)
            base, tokens = preset.non_embedding + preset.embedding, float(preset.pretraining_tokens)
            return self._card(preset.family, n_params, base, tokens, preset.context, language_model=classes is None)
        config = sources.read_config(self.params.model, self._revision)
        shapes = sources.read_shapes(self.params.model, self._revision)
        n_params = sources.count(shapes, config, classes=classes)
        text = config.get("text_config") or config
        context = int(text.get("max_position_embeddings") or text.get("n_positions") or 2048)
        family = str(config.get("model_type", "unknown"))
        return self._card(family, n_params, n_params, None, context, language_model=classes is None)

    def sibling(self, sees: Literal["text", "task"]) -> PluginRef | None:
        """The smallest preset of the family: used as it is for text, made ready like the victim for a task. Of a model
        that is no preset, for text the model itself before any fine-tuning, if it is a language model.
        """
        preset = None if _is_local(self.params.model) else find_preset(self.params.model)
        own = self.params.model_dump(mode="json", include={"model", "revision", "dtype", "device", "backend"})
        if preset is not None and preset != (small := smallest(preset.family)):
            own |= {"model": small.name, "revision": None}
        elif preset is None and (sees == "task" or not sources.is_language_model(self.params.model, self._revision)):
            return None
        if sees == "text":
            own |= {"head": "causal_lm", "fine_tune": False}
        else:
            own |= self.params.model_dump(mode="json", include={"head", "fine_tune"})
            own["fine_tune"] = own["fine_tune"] or False
        return PluginRef(name="huggingface", params=own)

    def fingerprint(self) -> dict[str, str]:
        """Hashes of a folder's files, or the commit of a hub id.

        Raises:
            VictimError: the commit cannot be found out; name it in the spec.
        """
        if _is_local(self.params.model):
            return sources.folder_hashes(Path(self.params.model).expanduser())
        hub = _hub_id(self.params.model)
        return {"repository": hub, "commit": sources.commit_of(hub, self.params.revision)}

    def estimate(self, data: TaskData) -> float:
        """Nominal compute of fine-tuning, in FLOPs."""
        plan: FineTune | None = self.params.fine_tune
        if plan is None or not data.train:
            return 0.0
        card = self.card(data)
        tokens = mean_length(data) / card.chars_per_token
        rows = min(len(data.train), plan.train_examples)
        seen = round(tokens * (plan.steps * plan.batch_size if plan.steps else plan.epochs * rows))
        return nominal_forward(card.n_params, seen) + nominal_backward(card.n_params, seen)

    def memory(self, data: TaskData) -> MemoryFacts | None:
        """From the preset table or config.json, and from how it is trained and used."""
        plan: FineTune | None = self.params.fine_tune
        preset = None if _is_local(self.params.model) else find_preset(self.params.model)
        config = {} if preset else sources.read_config(self.params.model, self._revision)
        shape, n_params = preset.shape if preset else ModelShape.from_config(config), self.card(data).n_params
        if shape is None or n_params is None:
            return None
        return MemoryFacts(
            n_params,
            shape,
            batch=plan.batch_size if plan else 0,
            states=2.0 if plan and plan.optimizer == "adamw" else 0.0,
            reads_vocabulary=self._head_for(data) != "classification",
            reply_tokens=None if data.labels else mean_reply(data) / self.card(data).chars_per_token,
            dtype=self.params.dtype,
            device=self.params.device,
            engine=self.params.backend != "torch",
        )

    def prepare(self, job: PrepareJob) -> Flops:
        """Fine-tune in float32 (or take as it is) and write model, tokenizer, `training.json` (rows used, dropped).

        Raises:
            VictimError: the model cannot be loaded or trained, lacks the head that is to be used as it is, has other
                classes than those asked for, or there is nothing to train it on.
        """
        from harness import load_model, named_seed, save_model

        plan: FineTune | None = self.params.fine_tune
        labels, head = job.data.labels, self._head_for(job.data)
        if plan is not None and not job.data.train:
            raise VictimError(f"{self.params.model}: no training data; write fine_tune: false to use it as it is")
        source, revision = self._source()
        model, missing = load_model(
            source,
            head,
            dtype="float32" if plan else "auto",
            n_labels=len(labels) if plan and head == "classification" else None,
            revision=revision,
            seed=named_seed(job.seed, "new head"),
        )
        if missing and head == "generation":
            raise VictimError(
                f"{self.params.model} is no language model (its file lacks {', '.join(missing)}); a task or judge that "
                "needs answers in text takes a causal language model"
            )
        if missing and plan is None:
            raise VictimError(
                f"{self.params.model} has no trained head ({', '.join(missing)}); fine-tune it, or use head: causal_lm"
            )
        if plan is None and head == "classification":
            _check_classes(self.params.model, model.config, labels)
        tokenizer = _load_tokenizer(source, revision)
        if getattr(model.config, "pad_token_id", None) is None:
            fallback = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
            model.config.pad_token_id = fallback  # others who load the model need one for batches
        spent, notes = Flops(), {"rows": 0, "dropped": 0}
        if plan is not None:
            if head == "classification":
                model.config.id2label = {i: label.strip() for i, label in enumerate(labels)}
                model.config.label2id = {label.strip(): i for i, label in enumerate(labels)}
            spent, notes = self._fine_tune(model, tokenizer, plan, job)
        save_model(model, job.folder)
        tokenizer.save_pretrained(str(job.folder))
        (job.folder / "training.json").write_text(json.dumps(notes) + "\n", encoding="utf-8")
        return spent

    def open(self, folder: Path, data: TaskData) -> Backend:
        """Load a prepared or defended model.

        Raises:
            VictimError: no such model, device or dtype.
        """
        from harness import open_folder

        return open_folder(
            folder,
            self._head_for(data),
            data.labels,
            dtype=self.params.dtype,
            device=self.params.device,
            backend=self.params.backend,
        )

    def _fine_tune(self, model: Any, tokenizer: Any, plan: FineTune, job: PrepareJob) -> tuple[Flops, dict[str, int]]:
        from harness import HFTokenizer, clean_rows, context_length, make_head, reply_rows, resolve_device, train

        rows = int(model.get_input_embeddings().weight.shape[0])
        ours = HFTokenizer.from_transformers(tokenizer, rows=rows)
        labels, head = job.data.labels, self._head_for(job.data)
        context = context_length(model) - make_head(head, model, ours, labels).extra
        drawn = _draw(job.data.train, plan.train_examples, job.seed)
        if head == "generation":
            clean = reply_rows(drawn, ours, context, _end(model, tokenizer), plan.too_long)
        else:
            clean = clean_rows(drawn, ours, context, plan.too_long)
        where, _ = resolve_device(self.params.device)
        spent = train(
            model.to(where),
            ours,
            clean.rows,
            plan,
            seed=job.seed,
            scratch=job.scratch,
            progress=job.progress,
            head=head,
            labels=labels,
            what=f"fine-tune {self.params.model}",
        )
        return spent, {"rows": len(clean.rows), "dropped": clean.dropped}

    def _head_for(self, data: TaskData) -> HeadName:
        if not data.labels:
            return "generation"
        return "classification" if self.params.head == "sequence_classification" else "label_tokens"

    @property
    def _revision(self) -> str | None:
        revision: str | None = self.params.revision
        return revision

    def _source(self) -> tuple[str, str | None]:
        if _is_local(self.params.model):
            return str(Path(self.params.model).expanduser()), None
        hub = _hub_id(self.params.model)
        return hub, sources.commit_of(hub, self._revision)

    def _card(
        self, family: str, n_params: int, base: int, tokens: float | None, context: int, *, language_model: bool
    ) -> VictimCard:
        tokens = self.params.pretraining_tokens or tokens
        flops = self.params.pretraining_flops or (6.0 * base * tokens if tokens else None)
        return VictimCard(
            self.params.family or family, n_params, flops, "latent", context, language_model=language_model
        )


def _is_local(model: str) -> bool:
    return find_preset(model) is None and sources.is_folder(model)


def _hub_id(model: str) -> str:
    preset = find_preset(model)
    return preset.hub if preset else model


def _draw(examples: Sequence[Example], most: int, seed: int) -> Sequence[Example]:
    from harness import named_rng

    if len(examples) <= most:
        return examples
    chosen = named_rng(seed, "fine-tuning examples").choice(len(examples), most, replace=False)
    return [examples[int(i)] for i in sorted(chosen)]


def _check_classes(model: str, config: Any, labels: Sequence[str]) -> None:
    """Raise VictimError where a classifier that is used as it is has other classes than ``labels``: another number, or
    names of which only some are among them. Names that are all different say the same in other words, in its order.
    """
    own = [str(name).strip() for _, name in sorted(config.id2label.items())]
    wanted = [label.strip() for label in labels]
    known = {name.casefold() for name in own} & {name.casefold() for name in wanted}
    if len(own) != len(wanted) or 0 < len(known) < len(wanted):
        raise VictimError(
            f"{model} has the classes {', '.join(own)}, and {', '.join(wanted)} are asked for; name the classes as it "
            "does, or in other words in its order, or fine-tune it"
        )


def _end(model: Any, tokenizer: Any) -> int | None:
    """Id of the token that is to end an answer: one that the model stops at. One that stops at none is told to stop at
    its tokenizer's; None where there is no such token either.
    """
    from harness import ending_ids

    known, wanted = ending_ids(model), tokenizer.eos_token_id
    if known:
        return int(wanted) if wanted in known else known[0]
    if wanted is None:
        return None
    for config in (model.config.get_text_config(), getattr(model, "generation_config", None)):
        if config is not None:
            config.eos_token_id = wanted
    return int(wanted)


def _load_tokenizer(source: str, revision: str | None) -> Any:
    from transformers import AutoTokenizer

    extra = {"revision": revision} if revision else {"local_files_only": True}
    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False, **extra)
    except (OSError, ValueError, KeyError) as error:
        raise VictimError(f"{source}: its tokenizer cannot be loaded: {error}") from error


@hookimpl
def harness_register_victims(register: Callable[[type[Victim]], None]) -> None:
    """Register `huggingface`."""
    register(HuggingFace)
