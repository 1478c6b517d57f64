"""What is known of a model without loading it, and without torch: configuration, sizes, content hash or commit."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Callable
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, TypeVar

from harness import VictimError

_COMMIT_HASH = re.compile(r"[0-9a-f]{40}")
_TIMEOUT = 5.0  # seconds; a plan should not hang on a slow hub
_COMMIT_HINT = "give revision: <commit, 40 hexadecimal digits>, or a local folder"
_MAX_HEADER_BYTES = 100 << 20
_OUTPUT_EMBEDDING = re.compile(r"(^|\.)(lm_head|embed_out)\.weight$|^cls\.")
_CLASSIFICATION_HEAD = re.compile(r"^(score|classifier)\.")
_BUFFER = re.compile(r"(rotary_emb\.inv_freq|attention\.masked_bias|position_ids)$")
T = TypeVar("T")

Shapes = dict[str, tuple[int, ...]]
"""Shape of each tensor, by name."""


def is_folder(model: str) -> bool:
    """Whether ``model`` names a local folder."""
    return Path(model).expanduser().is_dir()


def read_config(model: str, revision: str | None) -> dict[str, Any]:
    """config.json of a folder or hub id.

    Raises:
        VictimError: there is none, or the hub cannot be reached and it is not in the cache.
    """
    if is_folder(model):
        path = Path(model).expanduser() / "config.json"
        if not path.is_file():
            raise VictimError(f"{path}: no such file; a model folder needs a config.json")
    else:
        from huggingface_hub import hf_hub_download

        def fetch() -> str:
            return str(hf_hub_download(model, "config.json", revision=revision, etag_timeout=_TIMEOUT))

        path = Path(_from_hub(fetch, model, "its config.json"))
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def is_language_model(model: str, revision: str | None) -> bool:
    """Whether a folder or hub id holds a causal language model, by its config.json. Raises as `read_config`."""
    names = read_config(model, revision).get("architectures") or []
    return any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in names)


def read_shapes(model: str, revision: str | None) -> Shapes:
    """Shape of each floating-point tensor in the safetensors files; reads headers only.

    Raises:
        VictimError: no safetensors file, a broken header, or the hub cannot be reached.
    """
    if not is_folder(model):
        from huggingface_hub import get_safetensors_metadata

        metadata = _from_hub(
            lambda: get_safetensors_metadata(model, revision=revision), model, "the sizes of its weights"
        )
        tensors = [item for file in metadata.files_metadata.values() for item in file.tensors.items()]
        return {name: tuple(info.shape) for name, info in tensors if _is_parameter(name, info.dtype)}
    files = sorted(Path(model).expanduser().glob("*.safetensors"))
    if not files:
        raise VictimError(f"{model}: no *.safetensors file; save the model with save_pretrained (pickles are not read)")
    return {name: shape for file in files for name, shape in _header(file).items()}


def count_parameters(shapes: Shapes, config: dict[str, Any], *, classes: int | None) -> int:
    """Parameters of the model as it is used. Exact for decoders; an encoder's pooler counts if the file has it.

    Args:
        shapes: of the tensors in its files.
        config: its config.json.
        classes: outputs of its classification head; None: it is used as a language model.
    """
    text = config.get("text_config") or config
    saved_as_classifier = any(str(n).endswith("ForSequenceClassification") for n in config.get("architectures") or [])
    tied = bool(text.get("tie_word_embeddings", False))
    total = 0
    for name, shape in shapes.items():
        if _OUTPUT_EMBEDDING.search(name) and (classes is not None or tied):
            continue
        if _CLASSIFICATION_HEAD.match(name) and classes is not None and shape[0] == _n_classes(config):
            shape = (classes, *shape[1:])
        total += prod(shape)
    if classes is not None and not saved_as_classifier:
        total += classes * int(text["hidden_size"])
    return total


@lru_cache(maxsize=64)
def commit_of(model: str, revision: str | None) -> str:
    """Commit of a hub id, 40 hexadecimal digits: as given, else from the hub, else from the local cache.

    Raises:
        VictimError: none of these gives one.
    """
    if revision and _COMMIT_HASH.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi, try_to_load_from_cache

    try:
        sha = HfApi().model_info(model, revision=revision, timeout=_TIMEOUT).sha
    except Exception as error:  # no network, no such repository, offline mode: many unrelated classes
        cached = try_to_load_from_cache(model, "config.json", revision=revision)
        commit = Path(cached).parent.name if isinstance(cached, str) else ""
        if _COMMIT_HASH.fullmatch(commit):
            return commit
        raise VictimError(f"{model}: the hub does not tell its commit ({first_line(error)}); {_COMMIT_HINT}") from error
    if not sha:
        raise VictimError(f"{model}: the hub does not tell its commit; {_COMMIT_HINT}")
    return str(sha)


def folder_hashes(folder: Path) -> dict[str, str]:
    """sha256 of configuration, tokenizer and weights, by file name.

    Raises:
        VictimError: no config.json or no weights.
    """
    names = {"config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}
    files = sorted(f for f in folder.iterdir() if f.name in names or f.suffix == ".safetensors")
    present = {file.name for file in files}
    if "config.json" not in present or not any(name.endswith(".safetensors") for name in present):
        raise VictimError(f"{folder}: a model folder needs config.json and *.safetensors")
    stats = ((file, file.stat()) for file in files)
    return {file.name: _file_hash(str(file.resolve()), stat.st_size, stat.st_mtime_ns) for file, stat in stats}


@lru_cache(maxsize=256)
def _file_hash(path: str, _size: int, _changed: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _header(file: Path) -> Shapes:
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < length <= _MAX_HEADER_BYTES:
            raise VictimError(f"{file}: not a safetensors file")
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise VictimError(f"{file}: not a safetensors file") from error
    return {
        name: tuple(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__" and _is_parameter(name, entry["dtype"])
    }


def _is_parameter(name: str, dtype: str) -> bool:
    """Old checkpoints also hold masks and rotary tables, which are no parameters."""
    return dtype.startswith(("F", "BF")) and not _BUFFER.search(name)


def _n_classes(config: dict[str, Any]) -> int:
    return len(config.get("id2label") or {}) or int(config.get("num_labels", 2))


def _from_hub(call: Callable[[], T], model: str, what: str) -> T:
    try:
        return call()
    except Exception as error:  # network and hub errors of many unrelated classes
        raise VictimError(
            f"{model}: neither the hub nor the local cache gives {what} ({first_line(error)}); "
            "check the name, download the model first, or give a local folder or a preset"
        ) from error


def first_line(error: Exception) -> str:
    """The first line of an error's message that is not blank, else the error's class."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
