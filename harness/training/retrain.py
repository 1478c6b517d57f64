"""Train a model that lies in a folder, and write it to another: one round of a trained defense."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from harness.api.training import TrainConfig, TrainRow
from harness.api.victim import Progress
from harness.engine.torch.devices import resolve_device
from harness.engine.torch.loading import load_model
from harness.engine.torch.weights.named_base import Origin, weights_of
from harness.engine.torch.weights.quantizers import of_model
from harness.errors import VictimError
from harness.flops import Flops
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.training.loop import train
from harness.training.model_folder import save_model, saved_head
from harness.training.views import Views


def retrain(
    source: Path,
    folder: Path,
    rows: Sequence[TrainRow] | Views,
    config: TrainConfig,
    *,
    labels: Sequence[str],
    seed: int,
    scratch: Path,
    progress: Progress,
    device: str = "auto",
    what: str = "training",
    origin: Origin | None = None,
) -> Flops:
    """Train the model in ``source`` in float32 and write it to ``folder``; arguments otherwise as in `train`.

    The head is the one that ``source`` was saved with (`saved_head`).

    Args:
        origin: the weights that ``source`` may name instead of holding them.

    Raises:
        VictimError: as `train` and `load_model`.
    """
    head = saved_head(source, labels)
    where, _ = resolve_device(device)
    place = weights_of(source, origin)
    model, missing = load_model(
        place.source, head, dtype=torch.float32, revision=place.revision, described_by=place.described_by
    )
    if (quantised := of_model(model)) is not None:
        raise VictimError(
            f"{place.source}: its weights are quantised ({quantised}), and cannot be trained; name the model that it "
            "was made from"
        )
    if missing:
        raise VictimError(f"{source}: the file lacks weights that the model needs: {', '.join(missing)}")
    tokenizer = HFTokenizer.from_file(source / "tokenizer.json", rows=int(model.get_input_embeddings().weight.shape[0]))
    model = model.to(where)
    spent = train(
        model,
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
    save_model(model, folder, tokenizer_from=source)
    return spent
