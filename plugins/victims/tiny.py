"""Tiny victims: Pythia-shaped models of several sizes, trained from scratch on two cores in seconds to minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from harness import (
    Backend,
    Flops,
    MemoryFacts,
    ModelShape,
    PluginRef,
    PrepareJob,
    PretrainCost,
    Pretraining,
    PretrainJob,
    TaskData,
    TrainConfig,
    Victim,
    VictimCard,
    VictimError,
    hookimpl,
    named_seed,
    nominal_backward,
    nominal_forward,
)
from plugins.victims._backend_param import BackendChoice, backend_field
from plugins.victims._pretraining.params import ROBUST, Backbone, Pretrain
from plugins.victims._pretraining.texts import read_texts
from plugins.victims._text_lengths import SAMPLE_SIZE, mean_prompt_and_reply_chars, mean_reply_chars
from plugins.victims._tiny.bpe import PAD, bpe_from_texts, chars_per_token
from plugins.victims._tiny.sizes import SHAPES, SIBLING_SIZE, SIBLING_TEXT_STEPS, TinyShape
from plugins.victims._tiny.training import has_answer, model_config, training_rows

if TYPE_CHECKING:
    from harness import HeadName

BPE_EXAMPLES = 5000  # training examples that the tokenizer is trained on


class Tiny(Victim):
    """A GPT-NeoX of 7 thousand to 3 million non-embedding parameters, trained on the task from scratch: a classifier,
    or, for a task answered in text, a language model.
    """

    name = "tiny"
    paper = (
        "Biderman et al. 2023, 'Pythia', arXiv 2304.01373 (the architecture; sizes and training are this project's own)"
    )

    class Params(Victim.Params):
        size: Literal["7k", "26k", "57k", "150k", "800k", "3m"] = Field(
            "150k", description="about this many non-embedding parameters"
        )
        vocabulary: PositiveInt = Field(
            1024, ge=300, le=8192, description="entries of the byte-level BPE trained on the task's text"
        )
        steps: PositiveInt | None = Field(None, description="training steps; by default according to size")
        batch_size: PositiveInt = Field(64, description="examples per step")
        learning_rate: PositiveFloat | None = Field(
            None,
            description="peak learning rate, after 5% linear warm-up, then linear to 0; by default according to size",
        )
        weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay")
        filler: float = Field(
            0.3,
            ge=0,
            le=1,
            description="share of training examples with random tokens in the region that an attacker may change "
            "(label or reply unchanged; no effect on text without an answer): without any, one random string breaks "
            "a tiny victim; with many, attacks hardly break it",
        )
        filler_tokens: NonNegativeInt = Field(10, description="random tokens in each of these examples")
        context: PositiveInt = Field(256, le=4096, description="longest prompt in tokens, attack string included")
        pretrain: Pretrain | None = Field(
            None,
            description="pretraining on text without labels, before the task: one for all tasks, its tokenizer too; by "
            "default none",
        )
        backbone: Backbone = Field(
            "trained", description="frozen: after pretraining, the task trains a classification head alone"
        )
        backend: BackendChoice = backend_field()

        def identity(self) -> dict[str, Any]:
            """The parameters; without pretraining, those that there were before there was one."""
            data = super().identity()
            for name, default in (("pretrain", None), ("backbone", "trained")):
                if data[name] == default:
                    del data[name]
            return data

        @model_validator(mode="after")
        def _fit_together(self) -> Self:
            if self.backbone == "frozen" and self.pretrain is None:
                raise ValueError("backbone: frozen needs pretrain: a head upon random weights learns nothing")
            if self.pretrain is not None and self.pretrain.length > self.context:
                raise ValueError(
                    f"pretrain.length ({self.pretrain.length}) is above context ({self.context}): lower it, or raise "
                    "context"
                )
            return self

        @model_validator(mode="before")
        @classmethod
        def _by_size(cls, given: Any) -> Any:
            """Fill in how the size is trained, so that records show it."""
            if not isinstance(given, dict):
                return given
            shape = SHAPES.get(given.get("size", "150k")) if isinstance(given.get("size", "150k"), str) else None
            if shape is None:  # an unknown size is reported by its own field
                return given
            filled = {"steps": shape.steps, "learning_rate": shape.learning_rate}
            return given | {name: value for name, value in filled.items() if given.get(name) is None}

    @property
    def shape(self) -> TinyShape:
        return SHAPES[self.params.size]

    def family(self) -> str:
        return "tiny"

    def card(self, data: TaskData) -> VictimCard:
        stage = self.pretraining()
        return VictimCard(
            self.family(),
            self._size(len(data.labels)),
            None if stage is None else stage.flops,
            "latent",
            self.params.context,
            chars_per_token(data, self.params.vocabulary),
            language_model=not data.labels,
        )

    def _size(self, labels: int) -> int:
        """Parameters of a classifier, or of a language model, whose output embedding is its input's."""
        head = (labels - 2) * self.shape.hidden
        return self.shape.non_embedding + head + self.params.vocabulary * self.shape.hidden

    def sibling(self, sees: Literal["text", "task"]) -> PluginRef:
        size = min((self.params.size, SIBLING_SIZE), key=list(SHAPES).index)
        same = {"vocabulary", "context", "backend"} | ({"pretrain"} if self.params.pretrain is not None else set())
        shared = self.params.model_dump(mode="json", include=same)
        return PluginRef(
            name="tiny", params={"size": size, **shared} | ({"steps": SIBLING_TEXT_STEPS} if sees == "text" else {})
        )

    def trained_against(self, data: TaskData) -> str:
        filler, length = self.params.filler, self.params.filler_tokens
        answered = any(has_answer(example, data) for example in data.train[:SAMPLE_SIZE])
        found = [f"random strings in {filler:.0%} of its examples"] if filler and length and answered else []
        if self.params.pretrain is not None and self.params.pretrain.is_robust:
            found.append(ROBUST)
        return ", ".join(found)

    def pretraining(self) -> Pretraining | None:
        params = self.params.pretrain
        if params is None:
            return None
        shared = self.params.model_dump(include={"size", "vocabulary", "context"})
        shared |= {"learning_rate": params.learning_rate or self.params.learning_rate, "pretrain": params.made_of()}
        size = self._size(0)
        each = nominal_forward(size, 1) + nominal_backward(size, 1)
        return Pretraining(shared, params.tokens * each, params.tasks, params.seed)

    def pretrain(self, job: PretrainJob) -> PretrainCost:
        from transformers import PreTrainedTokenizerFast

        from harness import HFTokenizer, save_model
        from plugins.victims._pretraining.pretrain import pretrain_model

        params: Pretrain = self.params.pretrain
        texts = read_texts(params, job.tasks)
        rust = bpe_from_texts(texts[: 2 * BPE_EXAMPLES], self.params.vocabulary)
        PreTrainedTokenizerFast(tokenizer_object=rust, pad_token=PAD).save_pretrained(str(job.folder))
        tokenizer = HFTokenizer(rust, rows=self.params.vocabulary)
        model = self._fresh_model(0, job.seed)
        rate = self.params.learning_rate
        cost = pretrain_model(model, tokenizer, texts, params, job, learning_rate=rate, name=f"tiny {self.params.size}")
        save_model(model, job.folder)
        return cost

    def _fresh_model(self, labels: int, seed: int) -> Any:
        """With random weights: a classifier, or a language model where there are no labels."""
        import torch
        from transformers import GPTNeoXForCausalLM, GPTNeoXForSequenceClassification

        config = model_config(self.shape, self.params.vocabulary, self.params.context, labels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(named_seed("tiny", seed, "weights"))
            return (GPTNeoXForSequenceClassification if labels else GPTNeoXForCausalLM)(config)

    def _pretrained_model(self, folder: Path, labels: int, seed: int) -> Any:
        """With the weights of the pretraining; the head of a classifier is new."""
        from harness import load_model

        head: HeadName = "classification" if labels else "generation"
        new = named_seed("tiny", seed, "weights")
        model, _ = load_model(folder, head, n_labels=labels or None, seed=new)
        if labels:
            model.config.eos_token_id = None
        return model

    def estimate(self, data: TaskData) -> float:
        card, sample = self.card(data), data.train[:SAMPLE_SIZE]
        if not sample:
            return 0.0
        answered = sum(has_answer(example, data) for example in sample) / len(sample)
        tokens = (
            mean_prompt_and_reply_chars(data) / card.chars_per_token
            + answered * self.params.filler * self.params.filler_tokens
        )
        n = card.n_params
        trained = self.shape.hidden * len(data.labels)
        backward = nominal_backward(n, 1) if self.params.backbone == "trained" else nominal_backward(trained, 1)
        return self.params.steps * self.params.batch_size * tokens * (nominal_forward(n, 1) + backward)

    def memory(self, data: TaskData) -> MemoryFacts:
        n_params, s = self.card(data).n_params, self.shape
        assert n_params is not None
        return MemoryFacts(
            n_params,
            ModelShape(s.hidden, s.layers, s.heads, s.intermediate, self.params.vocabulary, s.hidden),
            batch=self.params.batch_size,
            reads_vocabulary=not data.labels,
            reply_tokens=None if data.labels else mean_reply_chars(data) / self.card(data).chars_per_token,
            engine=self.params.backend != "torch",
        )

    def prepare(self, job: PrepareJob) -> Flops:
        import tokenizers
        from transformers import PreTrainedTokenizerFast

        from harness import HFTokenizer, save_model, train

        if not job.data.train:
            raise VictimError(
                "tiny is trained on the task's training examples, but there are none; use a victim that is already "
                "trained, e.g. {huggingface: {model: ..., fine_tune: false}}"
            )
        frozen = self.params.backbone == "frozen"
        if frozen and not job.data.labels:
            raise VictimError(
                "tiny: backbone: frozen trains a classification head, and this task is answered in text; write "
                "backbone: trained"
            )
        if job.pretrained is not None:
            rust = tokenizers.Tokenizer.from_file(str(job.pretrained / "tokenizer.json"))
        else:
            texts = (example.text + example.reply for example in job.data.train[:BPE_EXAMPLES])
            rust = bpe_from_texts(texts, self.params.vocabulary)
        special = {"pad_token": PAD} if job.data.labels else {"pad_token": PAD, "eos_token": PAD}
        PreTrainedTokenizerFast(tokenizer_object=rust, **special).save_pretrained(str(job.folder))
        tokenizer = HFTokenizer(rust, rows=self.params.vocabulary)
        labels = len(job.data.labels)
        if job.pretrained is not None:
            model = self._pretrained_model(job.pretrained, labels, job.seed)
        else:
            model = self._fresh_model(labels, job.seed)
        spent = train(
            model,
            tokenizer,
            training_rows(job, tokenizer, self.params),
            TrainConfig(
                steps=self.params.steps,
                batch_size=self.params.batch_size,
                learning_rate=self.params.learning_rate,
                warmup_steps=self.params.steps // 20,
                weight_decay=self.params.weight_decay,
                optimizer="adamw",
            ),
            seed=named_seed("tiny", job.seed, "order"),
            scratch=job.scratch,
            progress=job.progress,
            head=_head(job.data),
            frozen=frozen,
        )
        save_model(model, job.folder)
        return spent

    def open(self, folder: Path, data: TaskData) -> Backend:
        from harness import open_folder

        return open_folder(folder, _head(data), data.labels, dtype="float32", device="cpu", backend=self.params.backend)


def _head(data: TaskData) -> HeadName:
    return "classification" if data.labels else "generation"


@hookimpl
def harness_register_victims(register):
    register(Tiny)
