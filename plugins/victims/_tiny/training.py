"""What a tiny victim is trained from: its configuration, and its training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import (
    Example,
    PrepareJob,
    Problem,
    TaskData,
    Threat,
    TrainRow,
    VictimError,
    allowed_tokens,
    endless_permutation,
    named_rng,
    place,
    render,
    reply_ids,
    reply_row,
)
from plugins.victims._tiny.sizes import TinyShape

if TYPE_CHECKING:
    from transformers import GPTNeoXConfig

    from harness import HFTokenizer

END = 0  # id of the padding token, which also ends an answer


def model_config(shape: TinyShape, vocabulary: int, context: int, n_labels: int) -> GPTNeoXConfig:
    """Of a classifier; of a language model, its input and output embedding tied, where ``n_labels`` is 0."""
    from transformers import GPTNeoXConfig

    head: dict[str, Any] = {"num_labels": n_labels, "eos_token_id": None}
    return GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=context,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
        use_parallel_residual=False,  # learns both synthetic tasks in fewer steps at these sizes
        initializer_range=shape.init,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        pad_token_id=END,
        bos_token_id=None,
        use_cache=False,
        **(head if n_labels else {"eos_token_id": END, "tie_word_embeddings": True}),
    )


def training_rows(job: PrepareJob, tokenizer: HFTokenizer, params: Any) -> list[TrainRow]:
    """As many rows as the training takes, each example as often as needed, a share of them with random tokens in the
    region that an attacker may change.

    Args:
        params: of `plugins.victims.tiny.Tiny`: ``steps``, ``batch_size``, ``filler``, ``filler_tokens``, ``context``.

    Raises:
        VictimError: an example is longer than the context.
    """
    rng = named_rng("tiny", job.seed, "rows")
    allowed = allowed_tokens(tokenizer)
    threat = Threat(tokens=max(1, params.filler_tokens))
    order = endless_permutation(len(job.data.train), rng)
    rows: list[TrainRow] = []
    problems: dict[int, Problem] = {}
    replies: dict[str, tuple[int, ...]] = {}
    for _ in range(params.steps * params.batch_size):
        index = next(order)
        if index not in problems:
            problems[index] = place(job.data.train[index], threat, tokenizer, allowed)
        problem = problems[index]
        example = problem.example
        if has_answer(example, job.data) and rng.random() < params.filler:
            filler = rng.choice(allowed, size=params.filler_tokens).tolist()
            ids = (*problem.before.tolist(), *filler, *problem.after.tolist())
        else:
            ids = render(example.text, tokenizer)
        if job.data.labels:
            row = TrainRow(ids, example.label)
        else:
            if example.reply not in replies:
                replies[example.reply] = reply_ids(example.reply, tokenizer, END)
            row = reply_row(ids, replies[example.reply])
        if len(row.ids) > params.context:
            raise VictimError(
                f"example {example.id} has {len(row.ids)} tokens, tiny takes {params.context}; raise its `context`, or "
                "drop long texts with the task's `max_chars`"
            )
        rows.append(row)
    return rows


def has_answer(example: Example, data: TaskData) -> bool:
    """Whether an answer follows the prompt, a label or a reply; else the text is learnt as it is."""
    return bool(data.labels or example.reply)
