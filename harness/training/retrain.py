"""Train a model that lies in a folder, and write it to another: one round of a trained defense."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.api.training import TrainConfig, TrainRow
from harness.api.victim import Progress
from harness.engine.torch.devices import resolve_device
from harness.engine.torch.weights.named_base import Origin
from harness.flops import Flops
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.training.learner import open_learner
from harness.training.loop import train
from harness.training.model_folder import copy_tokenizer, saved_head
from harness.training.rerouting import Rerouting
from harness.training.views import Views


def retrain(
    source: Path,
    folder: Path,
    rows: Sequence[TrainRow] | Views | Rerouting,
    config: TrainConfig,
    *,
    labels: Sequence[str],
    seed: int,
    scratch: Path,
    progress: Progress,
    device: str = "auto",
    what: str = "training",
    origin: Origin | None = None,
    quantize: str | None = None,
) -> Flops:
    """Train the model in ``source`` in float32 and write it to ``folder``; arguments otherwise as in `train`. With
    ``config.lora`` an adapter is trained and written, and ``folder`` names the weights beneath it.

    The head is the one that ``source`` was saved with (`saved_head`).

    Args:
        origin: the weights that ``source`` may name instead of holding them.
        quantize: how to quantise the weights beneath an adapter that is trained, as in `load_model`.

    Raises:
        VictimError: as `train` and `load_model`.
    """
    head = saved_head(source, labels)
    where, _ = resolve_device(device)
    learner = open_learner(source, head, config.lora, seed=seed, device=where, origin=origin, quantize=quantize)
    rows_of_embedding = int(learner.model.get_input_embeddings().weight.shape[0])
    tokenizer = HFTokenizer.from_file(source / "tokenizer.json", rows=rows_of_embedding)
    spent = train(
        learner.model,
        tokenizer,
        rows,
        config,
        seed=seed,
        scratch=scratch,
        progress=progress,
        head=head,
        labels=labels,
        what=what,
    )
    learner.save(folder)
    copy_tokenizer(source, folder)
    return spent
