"""Where and in which precision a model runs."""

from __future__ import annotations

from typing import Any, Literal

import torch

from harness.errors import VictimError

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
SPREAD = "spread"
"""A device's name that means all: layers over the CUDA devices here, what does not fit on the CPU or the disk."""
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(device: str = "auto", dtype: str = "auto") -> tuple[torch.device, torch.dtype]:
    """Turn ``auto`` into facts: the first CUDA device and bfloat16 where there is one, else the CPU and float32.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ..., or `SPREAD`, of which this tells the first device.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``; ``auto`` follows the device.

    Raises:
        VictimError: no such device here, or no such dtype.
    """
    if device in ("auto", SPREAD):
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        where = torch.device(device)
    except (RuntimeError, ValueError) as error:
        raise VictimError(f"device {device!r}: write auto, cpu, cuda, cuda:1, or spread") from error
    if where.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise VictimError(f"device {device!r}: this machine has no usable CUDA device; write device: cpu")
        if where.index is not None and where.index >= count:
            raise VictimError(f"device {device!r}: this machine has {count} CUDA device(s), numbered from 0")
    elif where.type != "cpu":
        raise VictimError(f"device {device!r}: only cpu and cuda are supported")
    if dtype == "auto":
        return where, torch.bfloat16 if where.type == "cuda" else torch.float32
    if dtype not in _DTYPES:
        raise VictimError(f"dtype {dtype!r}: write auto, {', '.join(_DTYPES)}")
    return where, _DTYPES[dtype]


def input_device(model: Any) -> torch.device:
    """Where a model takes its inputs: its embedding's device, or where accelerate computes that if its weights lie
    elsewhere.
    """
    embedding = model.get_input_embeddings()
    hook = getattr(embedding, "_hf_hook", None)
    for one in getattr(hook, "hooks", (hook,)):
        where = getattr(one, "execution_device", None)
        if where is not None:
            return torch.device(where)
    found: torch.device = embedding.weight.device
    return found


def place_names(model: Any) -> str:
    """Where a model's weights lie: ``cuda:0``, or ``cuda:0+cuda:1+cpu``."""
    places = getattr(model, "hf_device_map", None)
    if not places:
        return str(input_device(model))
    return "+".join(sorted({f"cuda:{place}" if isinstance(place, int) else str(place) for place in places.values()}))


def dtype_name(dtype: torch.dtype) -> str:
    """``float32`` for `torch.float32`."""
    return str(dtype).removeprefix("torch.")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    texts = ("can't allocate memory", "not enough memory")  # DefaultCPUAllocator, on Linux and elsewhere
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
