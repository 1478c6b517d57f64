"""Where and in which precision a model runs."""

from __future__ import annotations

from typing import Any, Literal

import torch

from harness.engine.torch.weights.quantizers import of_model
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
        execution_device = getattr(one, "execution_device", None)
        if execution_device is not None:
            return torch.device(execution_device)
    device: torch.device = embedding.weight.device
    return device


def device_names(model: Any) -> str:
    """Names of the devices that hold a model's weights: ``cuda:0``, or ``cuda:0+cuda:1+cpu``."""
    device_map = getattr(model, "hf_device_map", None)
    if not device_map:
        return str(input_device(model))
    return "+".join(sorted({f"cuda:{name}" if isinstance(name, int) else str(name) for name in device_map.values()}))


def dtype_name(dtype: torch.dtype) -> str:
    """``float32`` for `torch.float32`."""
    return str(dtype).removeprefix("torch.")


def precision_mend(model: Any) -> str:
    """How to fix what low precision may have done: float32; or other weights, where it is quantised or is in float32.

    Args:
        model: of transformers, or the dtype of one whose weights are not quantised.
    """
    quantised = None if isinstance(model, torch.dtype | str) else of_model(model)
    if quantised is not None:
        return (
            f"its weights are quantised ({quantised}): name the model that they were made from, or quantise it "
            "another way"
        )
    dtype = model if isinstance(model, torch.dtype | str) else model.dtype
    if str(dtype).removeprefix("torch.") in ("float32", "float64"):
        return "that is already full precision: look for NaN and huge numbers in its weights, or exclude this victim"
    return "load it with dtype: float32"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on a GPU or on the CPU.

    Not accelerate's `should_reduce_batch_size`, which knows neither MemoryError nor the words of other systems' CPUs.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    texts = ("can't allocate memory", "not enough memory")  # DefaultCPUAllocator, on Linux and elsewhere
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
