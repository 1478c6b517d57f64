"""Opening a model folder as a backend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.devices import SPREAD, resolve_device
from harness.engine.torch.heads import HeadName
from harness.engine.torch.loading import load_model
from harness.engine.torch.weights.named_base import Origin, weights_of
from harness.engine.torch.weights.quantizers import of_model
from harness.errors import VictimError
from harness.tokens.chat_format import ChatFormat
from harness.tokens.hf_tokenizer import HFTokenizer

if TYPE_CHECKING:
    from harness.engine.dispatch.backend import DispatchBackend


def open_folder(
    folder: Path | str,
    head: HeadName = "classification",
    labels: Sequence[str] = (),
    *,
    dtype: str = "auto",
    device: str = "auto",
    chunk_tokens: int | None = None,
    backend: Literal["torch", "vllm", "auto"] = "torch",
    chat: ChatFormat | None = None,
    parse_special_tokens: bool = False,
    quantize: str | None = None,
    origin: Origin | None = None,
) -> TorchBackend | DispatchBackend:
    """Load a prepared model from a folder that holds config.json, tokenizer.json, and model.safetensors or the name of
    weights that lie elsewhere.

    Args:
        head: ``classification``, ``label_tokens`` or ``generation``.
        labels: label texts in index order, with their leading space; none for a model that answers in text.
        dtype, device: as in `harness.engine.torch.devices.resolve_device`; a model that fits no single device is
            placed on several with ``spread``.
        chunk_tokens: tokens per forward to begin with.
        backend: who answers: ``torch``; ``vllm``, with torch for gradients; ``auto``, whichever was measured to be
            faster at each sort of request (see `harness.engine.dispatch.backend`).
        chat: how prompts are put to a chat model; None: as they are.
        parse_special_tokens: special tokens that messages of a chat spell count as such; else they are text.
        quantize: how to quantise the weights while they are loaded: ``int8``, ``nf4``, ``fp4``, ``int8_torchao``.
        origin: the weights that the folder may name.

    Raises:
        VictimError: the folder holds no such model, weights are missing, or labels do not fit; or vLLM is asked for
            and not installed.
    """
    where, precision = resolve_device(device, dtype)
    spread = device == SPREAD
    place = weights_of(folder, origin)
    if (quantize or place.adapters) and backend != "torch":
        raise VictimError(f"{folder}: quantisation on load and adapters only work with backend: torch")
    model, missing = load_model(
        place.source,
        head,
        dtype=precision,
        device_map="balanced" if spread else None,
        revision=place.revision,
        quantize=quantize,
        described_by=place.described_by,
        device=where,
        adapters=place.adapters,
    )
    if missing:
        raise VictimError(f"{folder}: the file lacks weights that the model needs: {', '.join(missing)}")
    rows = int(model.get_input_embeddings().weight.shape[0])
    tokenizer = HFTokenizer.from_file(Path(folder) / "tokenizer.json", rows=rows)
    if chat is not None:
        tokenizer = tokenizer.with_chat(chat, parse_special_tokens=parse_special_tokens)
    stays = spread or of_model(model) is not None
    ours = TorchBackend(model if stays else model.to(where), tokenizer, head, labels, chunk_tokens=chunk_tokens)
    if backend == "torch":
        return ours
    from harness.engine.dispatch.backend import DispatchBackend

    return DispatchBackend(place.source, ours, backend)
