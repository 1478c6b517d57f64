"""Adapters: small weights that change what a model computes, in folders as peft writes them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from harness.api.training import Lora
from harness.errors import VictimError, first_line

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def load_peft() -> Any:
    """The package peft.

    Raises:
        VictimError: it is not installed, or does not go with transformers.
    """
    try:
        import peft
    except ImportError as error:
        raise VictimError(f"adapters need the package peft ({first_line(error)}); run: pip install peft") from error
    return peft


def apply_adapters(model: Any, folders: Sequence[Path]) -> Any:
    """The model with adapters on top of each other: merged into its weights, or kept apart where those are quantised.

    Args:
        folders: with `CONFIG` and `WEIGHTS`.

    Raises:
        VictimError: peft is missing, a folder holds no adapter of this model, or several next to quantised weights.
    """
    for at, folder in enumerate(folders):
        quantised = getattr(model, "is_quantized", False)
        if quantised and at:
            raise VictimError(
                f"{folder}: a second adapter, and the first one cannot be merged into quantised weights; merge it into "
                "the model that they were made from, or train the same adapter further"
            )
        adapted = open_adapter(model, folder)
        model = adapted.get_base_model() if quantised else adapted.merge_and_unload()
        if not quantised:
            model.__dict__.pop("peft_config", None)
    return model


def open_adapter(model: Any, folder: Path, *, trainable: bool = False) -> Any:
    """peft's model around ``model``, with the adapter in a folder. Raises VictimError as `apply_adapters`."""
    config = adapter_config(folder)
    if config.get("peft_type") in ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "MULTITASK_PROMPT_TUNING"):
        raise VictimError(f"{folder}: an adapter of prompts ({config['peft_type']}), not of weights; it is not applied")
    if not (folder / WEIGHTS).is_file():
        raise VictimError(f"{folder / WEIGHTS}: no such file; save the adapter with save_pretrained")
    peft = load_peft()
    device = str(next(model.parameters()).device)
    try:
        return peft.PeftModel.from_pretrained(model, str(folder), is_trainable=trainable, torch_device=device)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, ImportError) as error:
        raise VictimError(f"{folder}: not an adapter for this model: {first_line(error)}") from error


def adapter_config(folder: Path) -> dict[str, Any]:
    """What an adapter's configuration says. Raises VictimError where there is none."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(config, dict):
            return config
    except (OSError, ValueError) as error:
        raise VictimError(f"{path}: not an adapter's configuration ({first_line(error)})") from error
    raise VictimError(f"{path}: not an adapter's configuration")


def without_replaced(missing: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Those of the weights that a model's file lacks which no adapter brings."""
    whole = {str(name) for folder in folders for name in adapter_config(folder).get("modules_to_save") or ()}
    return [name for name in missing if not whole & set(name.split("."))]


def new_adapter(model: Any, lora: Lora, *, classifies: bool, seed: int) -> Any:
    """peft's model around ``model``, with a fresh LoRA (arXiv 2106.09685) that changes nothing yet.

    Args:
        classifies: whether the model has a classification head, which is trained whole.
        seed: from which the first matrices are drawn; the global random state is left alone.

    Raises:
        VictimError: peft is missing, or the model has no layers of these names.
    """
    peft = load_peft()
    heads = [
        name
        for name, part in model.named_children()
        if classifies and name != model.base_model_prefix and next(part.parameters(), None) is not None
    ]
    if classifies and any(name.endswith("pooler") for name, _ in model.named_modules()):
        heads.append("pooler")  # new where the head is
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = peft.LoraConfig(r=lora.r, lora_alpha=lora.alpha, target_modules=targets, modules_to_save=heads or None)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for what has a new name
            torch.manual_seed(seed)
            return peft.get_peft_model(model, config)
    except (ValueError, RuntimeError, TypeError) as error:
        raise VictimError(f"lora: {first_line(error)}") from error


def save_adapter(adapted: Any, folder: Path) -> None:
    """Write an adapter, and nothing of the model beneath it."""
    adapted.save_pretrained(str(folder))
    told = adapter_config(folder) | {"base_model_name_or_path": None}  # a path of this machine; base.json has its hash
    (folder / CONFIG).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "README.md").unlink(missing_ok=True)


def is_adapted(model: Any) -> bool:
    """Whether a model of transformers has an adapter next to its weights."""
    return bool(getattr(model, "peft_config", None))
