"""Tiny victims: Pythia-shaped models of several sizes, trained from scratch on two cores in seconds to minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from harness import (
    Backend,
    Flops,
    MemoryFacts,
    ModelShape,
    PluginRef,
    PrepareJob,
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
        backend: BackendChoice = backend_field()

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
        n = self.shape.non_embedding + (len(data.labels) - 2) * self.shape.hidden
        embedding = self.params.vocabulary * self.shape.hidden
        return VictimCard(
            self.family(),
            n + embedding,
            None,
            "latent",
            self.params.context,
            chars_per_token(data, self.params.vocabulary),
            language_model=not data.labels,
        )

    def sibling(self, sees: Literal["text", "task"]) -> PluginRef:
        size = min((self.params.size, SIBLING_SIZE), key=list(SHAPES).index)
        shared = self.params.model_dump(mode="json", include={"vocabulary", "context", "backend"})
        return PluginRef(
            name="tiny", params={"size": size, **shared} | ({"steps": SIBLING_TEXT_STEPS} if sees == "text" else {})
        )

    def trained_against(self, data: TaskData) -> str:
        filler, length = self.params.filler, self.params.filler_tokens
        answered = any(has_answer(example, data) for example in data.train[:SAMPLE_SIZE])
        if not (filler and length and answered):
            return ""
        return f"random strings in {filler:.0%} of its examples"

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
        return self.params.steps * self.params.batch_size * tokens * (nominal_forward(n, 1) + nominal_backward(n, 1))

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
        import torch
        from transformers import GPTNeoXForCausalLM, GPTNeoXForSequenceClassification, PreTrainedTokenizerFast

        from harness import HFTokenizer, save_model, train

        if not job.data.train:
            raise VictimError(
                "tiny is trained on the task's training examples, but there are none; use a victim that is already "
                "trained, e.g. {huggingface: {model: ..., fine_tune: false}}"
            )
        texts = (example.text + example.reply for example in job.data.train[:BPE_EXAMPLES])
        rust = bpe_from_texts(texts, self.params.vocabulary)
        special = {"pad_token": PAD} if job.data.labels else {"pad_token": PAD, "eos_token": PAD}
        PreTrainedTokenizerFast(tokenizer_object=rust, **special).save_pretrained(str(job.folder))
        tokenizer = HFTokenizer(rust, rows=self.params.vocabulary)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(named_seed("tiny", job.seed, "weights"))
            model_class = GPTNeoXForSequenceClassification if job.data.labels else GPTNeoXForCausalLM
            config = model_config(self.shape, self.params.vocabulary, self.params.context, len(job.data.labels))
            model = model_class(config)
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
