"""Tiny victims: a ladder of Pythia-shaped classifiers, small enough to be trained from scratch on two cores in seconds
to minutes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from harness import (
    Backend,
    Example,
    Flops,
    MemoryFacts,
    ModelShape,
    PluginRef,
    PrepareJob,
    Problem,
    TaskData,
    Threat,
    TrainConfig,
    TrainRow,
    Victim,
    VictimCard,
    VictimError,
    allowed_tokens,
    endless_permutation,
    hookimpl,
    host_field,
    named_rng,
    named_seed,
    nominal_backward,
    nominal_forward,
    place,
    render,
    reply_ids,
    reply_row,
)
from plugins.victims._text_lengths import SAMPLE, mean_length, mean_reply
from plugins.victims._tiny_bpe import PAD, chars_per_token, train_bpe
from plugins.victims._tiny_sizes import SHAPES, SIBLING, TEXT_STEPS, TinyShape

if TYPE_CHECKING:
    from transformers import GPTNeoXConfig

    from harness import HeadName, HFTokenizer


BPE_EXAMPLES = 5000  # training prompts that the tokenizer is made from
END = 0  # id of the padding token, which also ends an answer


class Tiny(Victim):
    """A GPT-NeoX of 7 thousand to 3 million non-embedding parameters, trained on the spot.

    A classifier; for a task that is answered in text, a language model.
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
            1024, ge=300, le=8192, description="entries of the byte-level BPE made from the training text"
        )
        steps: PositiveInt | None = Field(None, description="training steps; by size when left out")
        batch_size: PositiveInt = Field(64, description="examples per step")
        learning_rate: PositiveFloat | None = Field(
            None, description="peak; 5% linear warm-up, then linear to 0; by size when left out"
        )
        weight_decay: float = Field(0.01, ge=0)
        filler: float = Field(
            0.3,
            ge=0,
            le=1,
            description="share of training examples with random tokens in the region that an attacker may change "
            "(label or reply unchanged; none where there is but text): without any, a tiny victim falls to one random "
            "string; with many, it hardly falls",
        )
        filler_tokens: NonNegativeInt = Field(10, description="how many random tokens that is")
        context: PositiveInt = Field(256, le=4096, description="longest prompt in tokens, attack string included")
        backend: Literal["torch", "vllm", "auto"] = host_field(
            "torch", description="who answers: torch; vllm (torch gives gradients); auto: whichever is faster here"
        )

        @model_validator(mode="before")
        @classmethod
        def _by_size(cls, given: Any) -> Any:
            """Write the size's own training into the parameters, so that records show what was done."""
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

    def card(self, data: TaskData) -> VictimCard:
        n = self.shape.non_embedding + (len(data.labels) - 2) * self.shape.hidden
        embedding = self.params.vocabulary * self.shape.hidden
        return VictimCard(
            "tiny",
            n + embedding,
            None,
            "latent",
            self.params.context,
            chars_per_token(data, self.params.vocabulary),
            language_model=not data.labels,
        )

    def sibling(self, sees: Literal["text", "task"]) -> PluginRef:
        size = min((self.params.size, SIBLING), key=list(SHAPES).index)
        own = self.params.model_dump(mode="json", include={"vocabulary", "context", "backend"})
        return PluginRef(name="tiny", params={"size": size, **own} | ({"steps": TEXT_STEPS} if sees == "text" else {}))

    def estimate(self, data: TaskData) -> float:
        card, sample = self.card(data), data.train[:SAMPLE]
        if not sample:
            return 0.0
        answered = sum(_is_answered(example, data) for example in sample) / len(sample)
        tokens = mean_length(data) / card.chars_per_token + answered * self.params.filler * self.params.filler_tokens
        n = card.n_params
        return self.params.steps * self.params.batch_size * tokens * (nominal_forward(n, 1) + nominal_backward(n, 1))

    def memory(self, data: TaskData) -> MemoryFacts:
        n_params, of = self.card(data).n_params, self.shape
        assert n_params is not None
        shape = ModelShape(of.hidden, of.layers, of.heads, of.intermediate, self.params.vocabulary, of.hidden)
        return MemoryFacts(
            n_params,
            shape,
            batch=self.params.batch_size,
            reads_vocabulary=not data.labels,
            reply_tokens=None if data.labels else mean_reply(data) / self.card(data).chars_per_token,
            engine=self.params.backend != "torch",
        )

    def prepare(self, job: PrepareJob) -> Flops:
        import torch
        from transformers import GPTNeoXForCausalLM, GPTNeoXForSequenceClassification, PreTrainedTokenizerFast

        from harness import HFTokenizer, save_model, train

        if not job.data.train:
            raise VictimError(
                "tiny is trained on the task's training examples, and there are none; use a victim that is ready, e.g. "
                "{huggingface: {model: ..., fine_tune: false}}"
            )
        texts = (example.text + example.reply for example in job.data.train[:BPE_EXAMPLES])
        rust = train_bpe(texts, self.params.vocabulary)
        special = {"pad_token": PAD} if job.data.labels else {"pad_token": PAD, "eos_token": PAD}
        PreTrainedTokenizerFast(tokenizer_object=rust, **special).save_pretrained(str(job.folder))
        tokenizer = HFTokenizer(rust, rows=self.params.vocabulary)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(named_seed("tiny", job.seed, "weights"))
            of_head = GPTNeoXForSequenceClassification if job.data.labels else GPTNeoXForCausalLM
            model = of_head(self._config(len(job.data.labels)))
        rows = self._rows(job, tokenizer)
        config = TrainConfig(
            steps=self.params.steps,
            batch_size=self.params.batch_size,
            learning_rate=self.params.learning_rate,
            warmup_steps=self.params.steps // 20,
            weight_decay=self.params.weight_decay,
            optimizer="adamw",
        )
        seed = named_seed("tiny", job.seed, "order")
        spent = train(
            model,
            tokenizer,
            rows,
            config,
            seed=seed,
            scratch=job.scratch,
            progress=job.progress,
            head=_head(job.data),
        )
        save_model(model, job.folder)
        return spent

    def _config(self, num_labels: int) -> GPTNeoXConfig:
        """Of a classifier; of a language model where there are no labels, its output embedding being its input's."""
        from transformers import GPTNeoXConfig

        of_head: dict[str, Any] = {"num_labels": num_labels, "eos_token_id": None}
        return GPTNeoXConfig(
            vocab_size=self.params.vocabulary,
            hidden_size=self.shape.hidden,
            num_hidden_layers=self.shape.layers,
            num_attention_heads=self.shape.heads,
            intermediate_size=self.shape.intermediate,
            max_position_embeddings=self.params.context,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
            use_parallel_residual=False,  # learns both tasks in fewer steps at these sizes
            initializer_range=self.shape.init,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            pad_token_id=END,
            bos_token_id=None,
            use_cache=False,
            **(of_head if num_labels else {"eos_token_id": END, "tie_word_embeddings": True}),
        )

    def _rows(self, job: PrepareJob, tokenizer: HFTokenizer) -> list[TrainRow]:
        """As many rows as the training sees, each example as often as needed, a share of them with random tokens in the
        changeable region.
        """
        rng = named_rng("tiny", job.seed, "rows")
        allowed = allowed_tokens(tokenizer)
        threat = Threat(tokens=max(1, self.params.filler_tokens))
        order = endless_permutation(len(job.data.train), rng)
        rows: list[TrainRow] = []
        problems: dict[int, Problem] = {}
        replies: dict[str, tuple[int, ...]] = {}
        for _ in range(self.params.steps * self.params.batch_size):
            index = next(order)
            if index not in problems:
                problems[index] = place(job.data.train[index], threat, tokenizer, allowed)
            problem = problems[index]
            example = problem.example
            if _is_answered(example, job.data) and rng.random() < self.params.filler:
                middle = rng.choice(allowed, size=self.params.filler_tokens).tolist()
                ids = (*problem.before.tolist(), *middle, *problem.after.tolist())
            else:
                ids = render(example.text, tokenizer)
            if job.data.labels:
                row = TrainRow(ids, example.label)
            else:
                if example.reply not in replies:
                    replies[example.reply] = reply_ids(example.reply, tokenizer, END)
                row = reply_row(ids, replies[example.reply])
            if len(row.ids) > self.params.context:
                raise VictimError(
                    f"example {example.id} has {len(row.ids)} tokens, tiny takes {self.params.context}; "
                    "raise its `context`, or drop long "
                    "texts with the task's `max_chars`"
                )
            rows.append(row)
        return rows

    def open(self, folder: Path, data: TaskData) -> Backend:
        from harness import open_folder

        return open_folder(folder, _head(data), data.labels, dtype="float32", device="cpu", backend=self.params.backend)


def _is_answered(example: Example, data: TaskData) -> bool:
    """Whether anything is to follow the prompt; else there is but text, which is learnt as it is."""
    return bool(data.labels or example.reply)


def _head(data: TaskData) -> HeadName:
    return "classification" if data.labels else "generation"


@hookimpl
def harness_register_victims(register):
    register(Tiny)
