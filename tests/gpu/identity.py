"""What the card is, as far as torch says it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any

import torch
import transformers

from tests.gpu.parts import Measurements, Row, Setting

_PROPERTIES = ("multi_processor_count", "L2_cache_size", "clock_rate", "memory_clock_rate", "memory_bus_width")


def measure(setting: Setting) -> Measurements:
    """One measurement for the card and one for the versions."""
    yield "device", lambda: _device(torch.device(setting.device))
    yield "versions", _versions


def _device(device: torch.device) -> Row:
    if device.type != "cuda":
        found: dict[str, Any] = {"name": platform.machine(), "cpus": os.cpu_count(), "threads": torch.get_num_threads()}
        return Row(_listed(found), found)
    known = torch.cuda.get_device_properties(device)
    free, whole = torch.cuda.mem_get_info(device)
    found = {
        "name": known.name,
        "compute_capability": f"{known.major}.{known.minor}",
        "memory_gib": round(whole / 2**30, 1),
        "free_gib": round(free / 2**30, 1),
        **{name: getattr(known, name) for name in _PROPERTIES if hasattr(known, name)},
        "clock_mhz": _asked(lambda: torch.cuda.clock_rate(device)),
        "power_mw": _asked(lambda: torch.cuda.power_draw(device)),
        "temperature_c": _asked(lambda: torch.cuda.temperature(device)),
    }
    return Row(_listed(found), found)


def _versions() -> Row:
    found = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": _asked(_driver),
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "float32_products": torch.get_float32_matmul_precision(),
    }
    return Row(_listed(found), found)


def _driver() -> str:
    """The version of CUDA that the driver is made for."""
    version = int(torch._C._cuda_getDriverVersion())
    return f"CUDA {version // 1000}.{version % 1000 // 10}"


def _asked(ask: Callable[[], Any]) -> Any:
    """The answer, or why there is none: it may need the package nvidia-ml-py."""
    try:
        return ask()
    except (AttributeError, ImportError, RuntimeError) as error:
        return f"unknown ({type(error).__name__})"


def _listed(found: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.items())
