"""Which safetensors files of a local model folder are loaded, and what their headers say. Reads no weights."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness import VictimError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
_MAX_HEADER_BYTES = 100 << 20


class StoredTensor(NamedTuple):
    """A tensor as a file holds it: its dtype as safetensors writes it (``BF16``), and its shape."""

    dtype: str
    shape: tuple[int, ...]


StoredTensors = Mapping[str, StoredTensor]
"""Tensors by name."""


def weight_files(folder: Path, config: Mapping[str, Any]) -> list[Path]:
    """The files that transformers loads: ``model.safetensors``, else those that its index names. What else lies there
    (another layout of the same weights, an adapter) is not the model.

    Args:
        config: content of the folder's config.json, which may name another file in ``transformers_weights``.

    Raises:
        VictimError: there are none, the index is broken, or names files that are not there.
    """
    named = config.get("transformers_weights")
    first, *rest = [folder / named] if isinstance(named, str) else [folder / WEIGHTS, folder / INDEX]
    main = next((path for path in (first, *rest) if path.is_file()), None)
    if main is None:
        others = sorted(path.name for path in folder.glob("*.safetensors"))
        there = f"; {', '.join(others[:3])} there is not what transformers loads" if others else ""
        wanted = " nor ".join(path.name for path in (first, *rest))
        raise VictimError(
            f"{folder}: neither {wanted}{there}; save the model with save_pretrained (pickles are not read)"
            if rest
            else f"{folder}: no {wanted}, which its config.json names in transformers_weights{there}"
        )
    return _indexed(main) if main.name.endswith(".json") else [main]


def _indexed(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        files = [index.parent / name for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VictimError(f"{index}: not an index of safetensors files ({type(error).__name__}: {error})") from error
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise VictimError(
            f"{index}: names {', '.join(missing[:3]) or 'no file'}"
            f"{f' and {len(missing) - 3} more' if len(missing) > 3 else ''}, not in the folder; download the model "
            f"again"
        )
    return files


def read_headers(files: Iterable[Path]) -> dict[str, StoredTensor]:
    """All tensors of the files, by name. Raises VictimError for a file that is not safetensors."""
    return {name: tensor for file in files for name, tensor in _header(file).items()}


def _header(file: Path) -> dict[str, StoredTensor]:
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < length <= _MAX_HEADER_BYTES:
            raise VictimError(f"{file}: not a safetensors file")
        try:
            header = json.loads(stream.read(length))
            return {
                name: StoredTensor(str(entry["dtype"]), tuple(int(size) for size in entry["shape"]))
                for name, entry in header.items()
                if name != "__metadata__"
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise VictimError(f"{file}: not a safetensors file") from error


def check_no_adapter(folder: Path, name: str | None = None) -> None:
    """Raise VictimError where a folder that is named as a model is an adapter, or has one next to its model: without it
    the model would be another one than the folder says.

    Args:
        name: of the model, for the message; by default the folder.
    """
    path = folder / ADAPTER
    if not path.is_file():
        return
    try:
        base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (ValueError, AttributeError):
        base = None
    raise adapter_error(name or str(folder), base, beside_model=(folder / "config.json").is_file())


def adapter_error(name: str, base: object = None, *, beside_model: bool) -> VictimError:
    """The error about an adapter of the model ``base``, where that is known."""
    merge = (
        "write model: BASE, adapter: THIS, or merge it into its base model (in peft: merge_and_unload, then "
        "save_pretrained) and name the merged folder"
    )
    if beside_model:
        return VictimError(
            f"{name}: an adapter ({ADAPTER}) next to the model, and which one is meant is not clear; {merge}, or move "
            "the adapter's files away: into a folder that adapter names, or to use the model without it"
        )
    of = f" of {base}" if isinstance(base, str) and base else ""
    return VictimError(f"{name}: an adapter{of} and no whole model; {merge}")
