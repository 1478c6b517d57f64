"""What is known of a model without loading it, and without torch: configuration, sizes, content hash or commit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, TypeVar

from harness import VictimError
from plugins.victims._huggingface.content_hashes import file_hash
from plugins.victims._huggingface.gguf_files import gguf_file, read_gguf
from plugins.victims._huggingface.hub_reach import TIMEOUT, why_unreachable
from plugins.victims._huggingface.quantization import Shapes, parameter_shapes, quantization_of
from plugins.victims._huggingface.weight_files import (
    ADAPTER,
    StoredTensor,
    adapter_error,
    check_no_adapter,
    read_headers,
    weight_files,
)

_COMMIT_HASH = re.compile(r"[0-9a-f]{40}")
_COMMIT_HINT = "give revision: <commit, 40 hexadecimal digits>, or a local folder"
_OUTPUT_EMBEDDING = re.compile(r"(^|\.)(lm_head|embed_out)\.weight$|^cls\.")
_CLASSIFICATION_HEAD = re.compile(r"^(score|classifier)\.")
_READ_FILES = {  # all that loading a model and its tokenizer reads besides the weights
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "chat_template.jinja",
}
T = TypeVar("T")


def is_local(model: str) -> bool:
    """Whether ``model`` is a path rather than a hub id: by its form, or because there is such a folder."""
    return model.startswith(("/", "./", "../", "~")) or model in (".", "..") or _is_folder(model) or is_gguf(model)


def is_gguf(model: str) -> bool:
    """Whether ``model`` names a GGUF file."""
    return model.casefold().endswith(".gguf")


def local_gguf(model: str) -> Path | None:
    """The GGUF file that a local model is in; None where it is none. Raises VictimError where there are several."""
    return gguf_file(Path(model).expanduser()) if is_gguf(model) else gguf_file(local_folder(model))


def _is_folder(path: Path | str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:  # longer than a path may be, or not to be looked at
        return False


def local_folder(model: str) -> Path:
    """The folder of a local model.

    Raises:
        VictimError: it is not there.
    """
    try:
        folder = Path(model).expanduser()
    except RuntimeError as error:  # no such user
        raise VictimError(f"{model}: {first_line(error)}") from error
    if not _is_folder(folder):
        raise VictimError(
            f"{folder}: there is no such folder; give a folder with config.json, model.safetensors and "
            "tokenizer.json, a preset or a hub id"
        )
    return folder


def read_config(model: str, revision: str | None) -> dict[str, Any]:
    """config.json of a folder or hub id.

    Raises:
        VictimError: there is none, it is an adapter's folder, or the hub cannot be reached and it is not in the cache.
    """
    if is_local(model):
        if (file := local_gguf(model)) is not None:
            return read_gguf(file)[0]
        folder = local_folder(model)
        path = folder / "config.json"
        if not path.is_file():
            check_no_adapter(folder)
            raise VictimError(f"{path}: no such file; a model folder needs a config.json")
    else:
        path = Path(from_hub(model, revision, "config.json"))
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise VictimError(f"{path}: not JSON ({first_line(error)}); download or save the model again") from error
    if not isinstance(config, dict):
        raise VictimError(f"{path}: not a model's configuration; download or save the model again")
    return config


def is_language_model(model: str, revision: str | None) -> bool:
    """Whether a folder or hub id holds a causal language model, by its config.json. Raises as `read_config`."""
    names = read_config(model, revision).get("architectures") or []
    return any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in names)


def read_shapes(model: str, revision: str | None) -> Shapes | None:
    """Shape of each parameter in the safetensors files that are loaded; reads headers only. Of quantised weights the
    parameters that they stand for; None where their files do not tell these.

    Raises:
        VictimError: no safetensors file, a broken header, or the hub cannot be reached.
    """
    if is_local(model) and (file := local_gguf(model)) is not None:
        return read_gguf(file)[1]
    config = read_config(model, revision)
    if is_local(model):
        folder = local_folder(model)
        tensors = read_headers(weight_files(folder, config))
        return parameter_shapes(tensors, quantization_of(config, folder))
    from huggingface_hub import get_safetensors_metadata

    metadata = _call_hub(lambda: get_safetensors_metadata(model, revision=revision), model, "the sizes of its weights")
    stored = [item for file in metadata.files_metadata.values() for item in file.tensors.items()]
    tensors = {name: StoredTensor(str(info.dtype), tuple(info.shape)) for name, info in stored}
    return parameter_shapes(tensors, quantization_of(config))


def read_quantization(model: str, revision: str | None) -> Mapping[str, Any] | None:
    """How a folder's or hub id's weights are quantised; None where nothing says so, or in a GGUF file, which is
    unpacked. Raises as `read_config`.
    """
    if is_local(model) and local_gguf(model) is not None:
        return None
    return quantization_of(read_config(model, revision), local_folder(model) if is_local(model) else None)


def count_parameters(shapes: Shapes | None, config: dict[str, Any], *, classes: int | None) -> int | None:
    """Parameters of the model as it is used. Exact for decoders; an encoder's pooler counts if the file has it.

    Args:
        shapes: of its parameters; None, as its count, where they are unknown.
        config: its config.json.
        classes: outputs of its classification head; None: it is used as a language model.
    """
    if shapes is None:
        return None
    text = config.get("text_config") or config
    saved_as_classifier = any(str(n).endswith("ForSequenceClassification") for n in config.get("architectures") or [])
    tied = bool(text.get("tie_word_embeddings", False))
    total = 0
    for name, shape in shapes.items():
        if _OUTPUT_EMBEDDING.search(name) and (classes is not None or tied):
            continue
        if _CLASSIFICATION_HEAD.match(name) and classes is not None and shape[0] == class_count(config):
            shape = (classes, *shape[1:])
        total += prod(shape)
    if classes is not None and not saved_as_classifier:
        total += classes * int(text["hidden_size"])
    return total


@lru_cache(maxsize=64)
def commit_of(model: str, revision: str | None, *, adapter: bool = False) -> str:
    """Commit of a hub id, 40 hexadecimal digits: as given, else from the hub, else from the local cache.

    Args:
        adapter: whether an adapter is wanted there, and not a model.

    Raises:
        VictimError: none of these gives one, or the hub lists an adapter.
    """
    if revision and _COMMIT_HASH.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi, try_to_load_from_cache

    check_hub_id(model)
    try:
        info = HfApi().model_info(model, revision=revision, timeout=TIMEOUT)
    except Exception as error:  # no network, no such repository, offline mode: many unrelated classes
        cached = try_to_load_from_cache(model, ADAPTER if adapter else "config.json", revision=revision)
        commit = Path(cached).parent.name if isinstance(cached, str) else ""
        if _COMMIT_HASH.fullmatch(commit):
            return commit
        raise VictimError(f"{model}: the hub does not give its commit ({first_line(error)}); {_COMMIT_HINT}") from error
    files = {sibling.rfilename for sibling in getattr(info, "siblings", None) or ()}
    if ADAPTER in files and not adapter:
        raise adapter_error(model, beside_model="config.json" in files)
    if not info.sha:
        raise VictimError(f"{model}: the hub does not give its commit; {_COMMIT_HINT}")
    return str(info.sha)


def check_hub_id(model: str) -> None:
    """Raise VictimError where ``model`` cannot be a hub id."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(model)
    except HFValidationError as error:
        raise VictimError(
            f"{model}: neither a folder nor a hub id; a hub id is NAME or OWNER/NAME, a folder is written from the "
            "spec's folder (./NAME) or in full"
        ) from error


def content_hashes(model: str) -> dict[str, str]:
    """Hashes of a local model: of its GGUF file, or as `folder_hashes`. Raises VictimError as that does."""
    file = local_gguf(model)
    if file is None:
        return folder_hashes(local_folder(model))
    read_gguf(file)
    return {"gguf": file_hash(file)}


def folder_hashes(folder: Path) -> dict[str, str]:
    """sha256 of configuration, tokenizer and the weights that are loaded, by file name.

    Raises:
        VictimError: no config.json, no weights, or an adapter.
    """
    check_no_adapter(folder)
    weights = weight_files(folder, read_config(str(folder.absolute()), None))
    files = sorted({*weights, *(file for file in folder.iterdir() if file.name in _READ_FILES)})
    templates = sorted((folder / "additional_chat_templates").glob("*.jinja"))
    found = {file.name: file_hash(file) for file in files}
    return found | {f"{file.parent.name}/{file.name}": file_hash(file) for file in templates}


def hub_chat_template(model: str, revision: str | None) -> str | None:
    """The chat template of a hub id's tokenizer, by its files on the hub or in the cache; None where it has none, ""
    where it has several.
    """
    try:
        return Path(from_hub(model, revision, "chat_template.jinja")).read_text(encoding="utf-8")
    except (VictimError, OSError, ValueError):
        pass
    try:
        path = Path(from_hub(model, revision, "tokenizer_config.json"))
        found = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
        return None if not found else found if isinstance(found, str) else ""
    except (VictimError, OSError, ValueError, AttributeError):
        return None


def class_count(config: dict[str, Any]) -> int:
    """Outputs of the classification head that a config.json describes."""
    return len(config.get("id2label") or {}) or int(config.get("num_labels", 2))


def from_hub(model: str, revision: str | None, file: str) -> str:
    """Path of a hub id's file in the local cache, fetched where it is not there yet."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fetch(name: str) -> str:
        where = {"revision": revision, "etag_timeout": TIMEOUT}
        reason = why_unreachable()
        if not reason:
            return str(hf_hub_download(model, name, **where))
        try:
            return str(hf_hub_download(model, name, local_files_only=True, **where))
        except LocalEntryNotFoundError:  # it says that traffic was disabled
            raise OSError(f"the hub does not answer: {reason}") from None

    check_hub_id(model)
    try:
        return _call_hub(lambda: fetch(file), model, f"its {file}")
    except VictimError:
        try:
            adapter = Path(fetch(ADAPTER))
        except Exception:  # no network, no such file
            adapter = None
        if adapter is not None:
            check_no_adapter(adapter.parent, model)
        raise


def _call_hub(call: Callable[[], T], model: str, what: str) -> T:
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
