"""Training state on disk, written whole or not at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.engine.torch.weights.adapters import is_adapted
from harness.flops import Flops

_NAME = "training.pt"


@dataclass(frozen=True, slots=True)
class TrainingState:
    """Where training stands: updates done, and the compute they took."""

    step: int
    spent: Flops


def save(scratch: Path, key: str, model: Any, optimizer: torch.optim.Optimizer, step: int, spent: Flops) -> None:
    """Replace the checkpoint in ``scratch``; a kill at any moment leaves the old one or the new one."""
    scratch.mkdir(parents=True, exist_ok=True)
    state = {
        "key": key,
        "step": step,
        "spent": spent.to_json(),
        "model": _trained(model),
        "optimizer": optimizer.state_dict(),
    }
    new = scratch / f"{_NAME}.new"
    with new.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(scratch / _NAME)


def _trained(model: Any) -> dict[str, torch.Tensor]:
    """What training changes: all of a model, or the adapter alone."""
    state: dict[str, torch.Tensor] = model.state_dict()
    if not is_adapted(model):
        return state
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {name: tensor for name, tensor in state.items() if name in trained}


def load(scratch: Path, key: str, model: Any, optimizer: torch.optim.Optimizer) -> TrainingState:
    """Restore model and optimiser from ``scratch``; from the start without a checkpoint of this very ``key``."""
    path = scratch / _NAME
    if not path.is_file():
        return TrainingState(0, Flops())
    device = next(model.parameters()).device
    state = torch.load(path, map_location=device, weights_only=True)
    if state["key"] != key:
        return TrainingState(0, Flops())
    model.load_state_dict(state["model"], strict=not is_adapted(model))
    optimizer.load_state_dict(state["optimizer"])
    return TrainingState(int(state["step"]), Flops.from_json(state["spent"]))


def remove(scratch: Path) -> None:
    """Delete the checkpoint, if there is one."""
    for name in (_NAME, f"{_NAME}.new"):
        (scratch / name).unlink(missing_ok=True)
