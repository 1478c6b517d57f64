"""From a folder in hub layout (or a hub id) to a model, and to a backend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from harness.engine.devices import SPREAD, resolve_device
from harness.engine.heads import HeadName
from harness.engine.quiet import no_bars
from harness.engine.torch_backend import TorchBackend
from harness.errors import VictimError, first_line
from harness.tokens.hf import HFTokenizer

if TYPE_CHECKING:
    from harness.engine.routed import RoutedBackend


def open_folder(
    folder: Path | str,
    head: HeadName = "classification",
    labels: Sequence[str] = (),
    *,
    dtype: str = "auto",
    device: str = "auto",
    chunk_tokens: int | None = None,
    backend: Literal["torch", "vllm", "auto"] = "torch",
) -> TorchBackend | RoutedBackend:
    """Load a prepared model from a folder that holds config.json, model.safetensors and tokenizer.json.

    Args:
        head: ``classification``, ``label_tokens`` or ``generation``.
        labels: label texts in index order, with their leading space; none for a model that answers in text.
        dtype, device: as in `harness.engine.devices.resolve_device`; a model that fits no single device is placed on
            several with ``spread``.
        chunk_tokens: tokens per forward to begin with.
        backend: who answers: ``torch``; ``vllm``, with torch for gradients; ``auto``, whichever was measured to be
            faster at each sort of request (see `harness.engine.routed`).

    Raises:
        VictimError: the folder holds no such model, weights are missing, or labels do not fit; or vLLM is asked for
            and not installed.
    """
    where, precision = resolve_device(device, dtype)
    spread = device == SPREAD
    model, missing = load_model(folder, head, dtype=precision, device_map="balanced" if spread else None)
    if missing:
        raise VictimError(f"{folder}: the file lacks weights that the model needs: {', '.join(missing)}")
    rows = int(model.get_input_embeddings().weight.shape[0])
    tokenizer = HFTokenizer.from_file(Path(folder) / "tokenizer.json", rows=rows)
    ours = TorchBackend(model if spread else model.to(where), tokenizer, head, labels, chunk_tokens=chunk_tokens)
    if backend == "torch":
        return ours
    from harness.engine.routed import RoutedBackend

    return RoutedBackend(folder, ours, backend)


def load_model(
    source: Path | str,
    head: HeadName,
    *,
    dtype: torch.dtype | str = torch.float32,
    n_labels: int | None = None,
    revision: str | None = None,
    seed: int = 0,
    device_map: str | dict[str, Any] | None = None,
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
            or, beside GPUs, on the CPU is brought in whenever it is needed: slow.

    Returns:
        the model, and the names of the weights that were drawn instead of loaded.

    Raises:
        VictimError: no such model, no safetensors, or an architecture that cannot be used.
    """
    local = Path(source).is_dir()
    common: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    if revision and not local:
        common["revision"] = revision
    auto = AutoModelForSequenceClassification if head == "classification" else AutoModelForCausalLM
    try:
        config = AutoConfig.from_pretrained(str(source), **common)
        if getattr(config, "is_encoder_decoder", False):
            raise VictimError(f"{source}: encoder-decoder models are not supported; use a decoder or an encoder")
        if head == "classification" and n_labels is not None and config.num_labels != n_labels:
            config.num_labels = n_labels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with no_bars():
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
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise VictimError(f"{source}: cannot be loaded for head {head}: {first_line(error)}") from error
    drawn = set(info["missing_keys"]) | {str(entry[0]) for entry in info.get("mismatched_keys", ())}
    return model, sorted(drawn)
