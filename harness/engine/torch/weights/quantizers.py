"""Quantised weights: through transformers' own quantizers, or in words where a package is missing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch

from harness.errors import VictimError

QuantizeName = Literal["int8", "nf4", "fp4", "int8_torchao"]
"""Ways to quantise while a model is loaded: ``int8`` (LLM.int8, arXiv 2208.07339), ``nf4`` and ``fp4`` (QLoRA, arXiv
2305.14314) by bitsandbytes; ``int8_torchao``: weights alone, by torchao."""

_PACKAGES = {  # what transformers needs to read a checkpoint
    "bitsandbytes": ("bitsandbytes", "accelerate"),
    "gptq": ("gptqmodel", "optimum"),
    "awq": ("gptqmodel",),
    "auto-round": ("auto_round",),
    "compressed-tensors": ("compressed_tensors",),
    "torchao": ("torchao",),
    "hqq": ("hqq",),
    "aqlm": ("aqlm",),
    "quanto": ("optimum.quanto",),
}
_PLAIN_KERNELS = {"gptq": "torch", "awq": "torch_awq"}  # of gptqmodel, as transformers names them


@dataclass(frozen=True, slots=True)
class Quantization:
    """How a model's weights are quantised.

    Attributes:
        method: as transformers names it: ``bitsandbytes``, ``gptq``, ...
        bits: of a weight; None where it varies or is not told.
    """

    method: str
    bits: int | None

    def __str__(self) -> str:
        return self.method if self.bits is None else f"{self.method}, {self.bits} bits"


def of_config(config: Any) -> Quantization | None:
    """What a configuration of transformers says of its weights; None where they are not quantised."""
    for part in (config, config.get_text_config()):
        found = getattr(part, "quantization_config", None) or getattr(part, "compression_config", None)
        if found:
            options = found if isinstance(found, Mapping) else found.to_dict()
            method = options.get("quant_method") or ("bitsandbytes" if "load_in_4bit" in options else "unknown method")
            bits = 4 if options.get("load_in_4bit") else 8 if options.get("load_in_8bit") else options.get("bits")
            return Quantization(str(getattr(method, "value", method)), bits if isinstance(bits, int) else None)
    return None


def of_model(model: Any) -> Quantization | None:
    """How a loaded model's weights are quantised; None where they are not."""
    return of_config(model.config) if getattr(model, "is_quantized", False) else None


def check_packages(what: str, quantization: Quantization) -> None:
    """Raise VictimError where a package that reads such weights is not installed.

    Args:
        what: begins the error: what it is needed for.
    """
    missing = [name for name in _PACKAGES.get(quantization.method, ()) if not _is_installed(name)]
    if missing:
        names = " ".join(name.replace("_", "-").replace(".", "-") for name in missing)
        raise VictimError(f"{what} ({quantization}), for which a package is missing; run: pip install {names}")
    if quantization.method == "bitsandbytes":
        # It tells at every product that it computes in float16, as its int8 always does.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)


def choose_kernels_with_gradients(config: Any) -> None:
    """Have the library that reads a checkpoint multiply by plain torch, where it has other kernels too. Some versions
    choose kernels that answer faster and let no gradient through, without a word.

    Args:
        config: of the model; changed in place.
    """
    found = of_config(config)
    if found is not None and found.method in _PLAIN_KERNELS:
        told = config.quantization_config
        config.quantization_config = dict(told if isinstance(told, Mapping) else told.to_dict())
        config.quantization_config["backend"] = _PLAIN_KERNELS[found.method]


def keep_dtype(model: Any) -> Any:
    """The model, whose 4-bit layers compute in the dtype that they were given.

    On a CPU that multiplies in bfloat16, bitsandbytes packs them again at their first forward, computes in bfloat16
    whatever was asked for, and fails with layers narrower than a block: one model, other answers on other machines.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of its parent
        return False


def on_load(name: str, dtype: torch.dtype | str) -> Any:
    """transformers' configuration for quantising while a model is loaded.

    Args:
        name: one of `QuantizeName`.
        dtype: to compute in.

    Raises:
        VictimError: no such way, or its package is missing.
    """
    import transformers

    if name not in get_args(QuantizeName):
        raise VictimError(f"quantize {name!r}: write {', '.join(get_args(QuantizeName))}")
    bits = 8 if name.startswith("int8") else 4
    by = "torchao" if name.endswith("torchao") else "bitsandbytes"
    check_packages(f"quantize: {name}", Quantization(by, bits))
    if by == "torchao":
        from torchao.quantization import Int8WeightOnlyConfig

        return transformers.TorchAoConfig(Int8WeightOnlyConfig(version=2))
    if bits == 8:
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type=name, bnb_4bit_compute_dtype=dtype if dtype != "auto" else torch.float32
    )
