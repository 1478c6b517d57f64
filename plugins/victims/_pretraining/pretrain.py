"""The training of a pretraining, for any model and tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness import Flops, PretrainCost, PretrainJob, TrainConfig, named_seed
from plugins.victims._pretraining.params import Pretrain
from plugins.victims._pretraining.texts import cut_texts
from plugins.victims._pretraining.views import RowMaker, pretraining_notes

if TYPE_CHECKING:
    from harness import HFTokenizer


def pretrain_model(
    model: Any,
    tokenizer: HFTokenizer,
    texts: Sequence[str],
    params: Pretrain,
    job: PretrainJob,
    *,
    learning_rate: float,
    name: str,
    mask: int | None = None,
) -> PretrainCost:
    """Train a language model in place on texts. The rows depend on texts, tokenizer, parameters and seed, and not on
    the model: all sizes of a ladder learn the same.

    Args:
        learning_rate: its peak, where the parameters do not say it.
        name: of the model, for the progress bar.
        mask: id of the mask token of a masked language model; None: the model is causal.

    Raises:
        VictimError: no text is fit to learn from, or training failed.
    """
    from harness import train

    around = len(tokenizer.left) + len(tokenizer.right)
    kept, dropped = cut_texts(texts, tokenizer, params.length - around)
    rows = RowMaker(tokenizer, params, mask).make(kept, job.seed)
    notes = pretraining_notes(rows, len(kept), dropped, params)
    spent = train(
        model,
        tokenizer,
        rows.views,
        TrainConfig(
            learning_rate=params.learning_rate or learning_rate,
            warmup_steps=notes["updates"] // 20,
            batch_size=params.batch_size,
            weight_decay=params.weight_decay,
            optimizer=params.optimizer,
        ),
        seed=named_seed("pretraining", job.seed, "dropout"),
        scratch=job.scratch,
        progress=job.progress,
        head="generation",
        what=f"pretrain {name}",
    )
    plain = rows.clean_tokens / (rows.tokens * (1.0 + params.loss.further_passes))
    return PretrainCost(spent, spent * (1.0 - plain) if params.is_robust else Flops(), notes)
