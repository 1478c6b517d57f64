"""Fine-tuning a Hugging Face model on a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveInt

from harness import Example, Flops, ModelShape, PrepareJob, TrainConfig

if TYPE_CHECKING:
    from harness import ChatFormat, HeadName, HFTokenizer


class FineTune(TrainConfig):
    """Fine-tuning on the task; the defaults are the study's (arXiv 2407.18213)."""

    train_examples: PositiveInt = Field(20_000, description="at most this many training examples, drawn by the seed")
    too_long: Literal["error", "drop"] = Field(
        "error", description="what to do with examples longer than the context; nothing is ever cut off"
    )


def fine_tune(
    model: Any,
    tokenizer: Any,
    config: FineTune,
    job: PrepareJob,
    head: HeadName,
    *,
    device: str,
    name: str,
    chat: ChatFormat | None = None,
    frozen: bool = False,
) -> tuple[Flops, dict[str, int]]:
    """Train a model in place on the task's training examples.

    Args:
        model, tokenizer: of transformers.
        name: of the model, for the progress bar.
        chat: how its prompts are written; None: as they are.
        frozen: whether all but the classification head stays as it is.

    Returns:
        the compute spent, and how many rows were trained on and dropped.

    Raises:
        VictimError: an example is longer than the context, and is not to be dropped; training failed.
    """
    from harness import HFTokenizer, clean_rows, context_length, make_head, reply_rows, resolve_device, train

    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    own_tokenizer = HFTokenizer.from_transformers(tokenizer, rows=vocabulary)
    if head != "classification":
        own_tokenizer = own_tokenizer.open_ended()
    if chat is not None:
        own_tokenizer = own_tokenizer.with_chat(chat, parse_special_tokens=job.data.parse_special_tokens)
    labels = job.data.labels
    context = context_length(model) - make_head(head, model, own_tokenizer, labels).extra
    examples = _subsample(job.data.train, config.train_examples, job.seed)
    if head == "generation":
        clean = reply_rows(
            examples, own_tokenizer, context, _answer_end(model, tokenizer, own_tokenizer), config.too_long
        )
    else:
        clean = clean_rows(examples, own_tokenizer, context, config.too_long)
    torch_device, _ = resolve_device(device)
    spent = train(
        model if getattr(model, "is_quantized", False) else model.to(torch_device),
        own_tokenizer,
        clean.rows,
        config,
        seed=job.seed,
        scratch=job.scratch,
        progress=job.progress,
        head=head,
        labels=labels,
        what=f"fine-tune {name}",
        frozen=frozen,
    )
    return spent, {"rows": len(clean.rows), "dropped": clean.dropped}


def trained_share(config: FineTune | None, shape: ModelShape, n_params: int) -> float:
    """Of a decoder's parameters, at most the share that training changes: all, or an adapter of every linear layer."""
    if config is None or config.lora is None:
        return 1.0
    return min(1.0, shape.adapter_parameters(config.lora.r) / n_params)


def _subsample(examples: Sequence[Example], count: int, seed: int) -> Sequence[Example]:
    from harness import named_rng

    if len(examples) <= count:
        return examples
    indices = named_rng(seed, "fine-tuning examples").choice(len(examples), count, replace=False)
    return [examples[int(i)] for i in sorted(indices)]


def _answer_end(model: Any, tokenizer: Any, own: HFTokenizer) -> int | None:
    """Id of the token that is to end an answer: one that the model stops at, if there is one that its chat template
    ends answers with. A model that stops at none is set to stop at its tokenizer's; None where there is no such token
    either.
    """
    from harness import ending_ids

    stops, preferred = ending_ids(model), tokenizer.eos_token_id
    if own.chat is not None and own.chat.turn_end in stops:
        return own.chat.turn_end
    if stops:
        return int(preferred) if preferred in stops else stops[0]
    if preferred is None:
        return None
    for config in (model.config.get_text_config(), getattr(model, "generation_config", None)):
        if config is not None:
            config.eos_token_id = preferred
    return int(preferred)
