"""What a training changes: a whole model, or an adapter upon weights that stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.api.training import Lora
from harness.engine.torch.heads import HeadName
from harness.engine.torch.loading import load_model
from harness.engine.torch.weights.adapters import new_adapter, open_adapter, save_adapter
from harness.engine.torch.weights.named_base import Base, Origin, base_of, weights_of
from harness.engine.torch.weights.quantizers import of_model
from harness.errors import VictimError
from harness.training.model_folder import save_description, save_model


@dataclass(frozen=True)
class Learner:
    """A model that is to be trained.

    Attributes:
        model: of transformers, on its device.
        adapted: peft's model around it; None where all weights are trained.
        base: what a folder with the adapter says of the weights beneath it.
    """

    model: Any
    adapted: Any = None
    base: Base | None = None

    @classmethod
    def adapter(cls, model: Any, lora: Lora, base: Base, *, classifies: bool, seed: int) -> Learner:
        """A fresh adapter upon a model; raises as `new_adapter`."""
        adapted = new_adapter(model, lora, classifies=classifies, seed=seed)
        return cls(adapted.get_base_model(), adapted, base)

    def save(self, folder: Path) -> None:
        """Write what was trained, and which weights it stands upon."""
        if self.base is None:
            save_model(self.model, folder)
            return
        save_description(self.model, folder)
        save_adapter(self.adapted, folder)
        self.base.write(folder)


def open_learner(
    source: Path,
    head: HeadName,
    lora: Lora | None,
    *,
    seed: int,
    device: torch.device,
    origin: Origin | None = None,
    quantize: str | None = None,
) -> Learner:
    """The model of a prepared folder, to be trained on: its weights; with ``lora`` its adapter where that was trained
    alike, else a new one.

    Raises:
        VictimError: as `load_model`; weights are missing; quantised ones are to be trained.
    """
    known = base_of(source)
    told = None if lora is None else lora.model_dump(mode="json")
    goes_on = lora is not None and known is not None and known.lora == told
    place = weights_of(source, origin)
    beneath = place.adapters[:-1] if goes_on else place.adapters
    model, missing = load_model(
        place.source,
        head,
        dtype=torch.float32,
        revision=place.revision,
        described_by=place.described_by,
        adapters=beneath,
        quantize=quantize if lora is not None else None,
        device=device,
    )
    quantised = of_model(model)
    if quantised is not None and lora is None:
        raise VictimError(
            f"{place.source}: its weights are quantised ({quantised})and cannot be trained; train an adapter "
            "(lora), or name the model that it was made from"
        )
    if missing and not goes_on:
        raise VictimError(f"{source}: the file lacks weights that the model needs: {', '.join(missing)}")
    model = model if quantised else model.to(device)
    if lora is None:
        return Learner(model)
    if goes_on:
        adapted = open_adapter(model, source, trainable=True)
        return Learner(adapted.get_base_model(), adapted, known)
    if known is not None and known.lora is None:
        base = Base(known.content, known.artifact, told)
    else:
        base = Base(None, source.name, told)
    return Learner.adapter(model, lora, base, classifies=head == "classification", seed=seed)
