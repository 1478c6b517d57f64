"""Adapters that belong to a model: where they lie, and what identifies them."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

from harness import VictimError
from plugins.victims._huggingface import model_files as model_files
from plugins.victims._huggingface.content_hashes import file_hash
from plugins.victims._huggingface.weight_files import read_headers

FILES = ("adapter_config.json", "adapter_model.safetensors")


def adapter_folder(adapter: str, revision: str | None = None) -> Path:
    """The folder of an adapter; one of the hub is fetched.

    Args:
        revision: of a hub id: commit, tag or branch; None: the newest.

    Raises:
        VictimError: there is none, it lacks a file, or the hub cannot be reached and it is not in the cache.
    """
    if not model_files.is_local(adapter):
        commit = model_files.commit_of(adapter, revision, adapter=True)
        paths = [Path(model_files.from_hub(adapter, commit, name)) for name in FILES]
        return paths[0].parent
    folder = Path(adapter).expanduser()
    for name in FILES:
        if not (folder / name).is_file():
            raise VictimError(f"{folder / name}: no such file; an adapter is a folder with {' and '.join(FILES)}")
    return folder


def adapter_parameters(adapter: str, revision: str | None = None) -> int:
    """How many parameters an adapter adds, less the parts of the model that it replaces. Raises as `adapter_folder`."""
    folder = adapter_folder(adapter, revision)
    replaced = set(json.loads((folder / FILES[0]).read_text(encoding="utf-8")).get("modules_to_save") or ())
    tensors = read_headers([folder / FILES[1]])
    return sum(prod(tensor.shape) for name, tensor in tensors.items() if not replaced & set(name.split(".")))


def adapter_content(adapter: str, revision: str | None = None) -> dict[str, str]:
    """What identifies an adapter, besides its model: hashes of its files, or its commit. Raises as `adapter_folder`."""
    if not model_files.is_local(adapter):
        return {"adapter": adapter, "adapter commit": model_files.commit_of(adapter, revision, adapter=True)}
    folder = adapter_folder(adapter)
    return {f"adapter/{name}": file_hash(folder / name) for name in FILES}
