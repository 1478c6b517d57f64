"""Loads a model from a folder in hub layout, or from the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, GenerationConfig
from transformers.utils import logging

from harness.engine.torch.heads import HeadName
from harness.engine.torch.weights.adapters import apply_adapters, without_replaced
from harness.engine.torch.weights.quantizers import (
    check_packages,
    choose_kernels_with_gradients,
    keep_dtype,
    of_config,
    on_load,
)
from harness.errors import VictimError, first_line

_ADAPTER = (
    "an adapter (adapter_config.json) instead of a model; name its model, and this folder as its adapter, or "
    "merge it into its base model (in peft: merge_and_unload, then save_pretrained)"
)
_NOT_LOADED = (
    "and its config.json does not say how, so that they cannot be read; name the model that it was made from, or "
    "download it again"
)
# What quantised weights come with, where config.json does not say that they are.
_CODED = re.compile(r"((^|[._])(qweight|qzeros|weight_packed|SCB|absmax|weight_scale(_inv)?)|_blocks)$")


def load_model(
    source: Path | str,
    head: HeadName,
    *,
    dtype: torch.dtype | str = torch.float32,
    n_labels: int | None = None,
    revision: str | None = None,
    seed: int = 0,
    device_map: str | dict[str, Any] | None = None,
    quantize: str | None = None,
    described_by: Path | None = None,
    device: torch.device | str = "cpu",
    adapters: Sequence[Path] = (),
) -> tuple[Any, list[str]]:
    """Load a model, on the CPU unless told otherwise; safetensors only, no code from the hub.

    Args:
        source: folder or hub id.
        dtype: a dtype or its name; ``auto`` is the one that the file is in.
        n_labels: width of the classification head; by default as in the configuration. A head of another width is
            replaced.
        revision: commit of a hub id.
        seed: from which weights that the file lacks (a new head) are drawn; the global random state is left alone.
        device_map: how accelerate places the layers, by module name or by a rule (``balanced``). What lies on the disk
            or, where there are GPUs, on the CPU is brought in when it is needed: slow. ``meta``: nothing is read, only
            which weights are missing is found out.
        quantize: how to quantise the weights while they are loaded, one of `QuantizeName`.
        described_by: a folder whose config.json and generation_config.json stand for those of ``source``.
        adapters: folders of adapters that are merged into the weights, in order, or put next to quantised ones.
        device: where quantised weights go, which cannot be moved later; others are loaded on the CPU.

    Returns:
        the model, and the names of the weights that were drawn instead of loaded.

    Raises:
        VictimError: no such model, no safetensors, an architecture that cannot be used, an adapter, or a package
            that reads quantised weights is missing.
    """
    local = Path(source).is_dir()
    if local and (Path(source) / "adapter_config.json").is_file():
        raise VictimError(f"{source}: {_ADAPTER}")
    common: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    if revision and not local:
        common["revision"] = revision
    auto = AutoModelForSequenceClassification if head == "classification" else AutoModelForCausalLM
    merged_in: torch.dtype | None = None
    try:
        config = AutoConfig.from_pretrained(str(described_by or source), **common)
        if getattr(config, "is_encoder_decoder", False):
            raise VictimError(f"{source}: encoder-decoder models are not supported; use a decoder or an encoder")
        quantised = of_config(config)
        if quantised is not None and quantize is not None:
            raise VictimError(
                f"{source}: its weights are quantised already ({quantised}); leave out quantize: {quantize}"
            )
        if quantised is not None:
            check_packages(f"{source}: its weights are quantised", quantised)
        if quantised is not None and device_map == "meta":  # transformers cannot leave their values unread
            with torch.device("meta"):
                return auto.from_config(config), []
        if quantize is not None:
            common["quantization_config"] = on_load(quantize, dtype)
        else:
            choose_kernels_with_gradients(config)
        if (quantised or quantize) and device_map is None:
            device_map = {"": str(device)}
        if head == "classification" and n_labels is not None and config.num_labels != n_labels:
            config.num_labels = n_labels
        if adapters and isinstance(dtype, torch.dtype) and not (quantised or quantize or device_map):
            merged_in, dtype = dtype, torch.float32  # adding to weights in half precision would round them once more
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with no_progress_bars():
                model, info = auto.from_pretrained(
                    str(source),
                    config=config,
                    dtype=dtype,
                    use_safetensors=True,
                    ignore_mismatched_sizes=head == "classification" and n_labels is not None,
                    output_loading_info=True,
                    device_map=device_map,
                    **common,
                )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, AttributeError) as error:
        raise VictimError(f"{source}: cannot be loaded for head {head}: {first_line(error)}") from error
    if getattr(model, "_hf_peft_config_loaded", False):  # transformers applies one that it finds, if peft is installed
        raise VictimError(f"{source}: {_ADAPTER}")
    coded = next((name for name in sorted(info.get("unexpected_keys", ())) if _CODED.search(name)), None)
    if coded is not None:
        raise VictimError(f"{source}: its weights are quantised (they come with {coded}), {_NOT_LOADED}")
    if described_by is not None and (described_by / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(str(described_by), local_files_only=True)
    model = keep_dtype(model)
    if adapters and device_map != "meta":
        model = apply_adapters(model, adapters)
        if merged_in is not None:
            model = model.to(merged_in)
    missing = set(info["missing_keys"]) | {str(entry[0]) for entry in info.get("mismatched_keys", ())}
    return model, without_replaced(sorted(missing), adapters)


NO_LIMIT = 1 << 20  # tokens, of a model whose configuration states no limit


def context_length(model: Any) -> int:
    """Longest row in tokens, from the configuration and from learnt position embeddings."""
    stated = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    limit = int(stated) if isinstance(stated, int) and stated > 0 else NO_LIMIT
    for name, module in model.named_modules():
        # RoBERTa counts positions from padding_idx + 1, so its table holds fewer than its configuration says.
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            limit = min(limit, module.num_embeddings - module.padding_idx - 1)
    return limit


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Within, transformers shows no bars when it reads or writes a model; afterwards as before. It has a switch for
    them and nothing that sets it back.
    """
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
