"""How many parameters quantised weights stand for, from names, dtypes and shapes of the tensors in their files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from plugins.victims._huggingface.weight_files import StoredTensors

Shapes = dict[str, tuple[int, ...]]
"""Shape of each parameter, by name; of a packed one, how many values it holds."""

_BUFFER = re.compile(r"(rotary_emb\.inv_freq|attention\.masked_bias|position_ids)$")
_FLOATS = {"F64", "F32", "F16", "BF16"}
_PACKED_BITS = {
    "I8": 8,
    "U8": 8,
    "I16": 16,
    "U16": 16,
    "I32": 32,
    "U32": 32,
    "I64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
}
_PACKED_NAME = re.compile(r"(?:\.q?(?P<what>weight)(?:_packed)?|_blocks)$")
_AIDS = re.compile(  # scales, zero points and the like: they belong to the coding, not to the model
    r"(^|[._])(qzeros|scales|g_idx|SCB|weight_format|(nested_)?(absmax|quant_map)|quant_state\.\w+|"
    r"weight_(scales?|scale_inv|scale_2|zero_point|g_idx|shape|global_scale)|"
    r"(input|output|activation)_(scale|global_scale|zero_point|scale_ub)|[qkv]_scale)$"
)
_SIGN = re.compile(r"((^|[._])(qweight|qzeros|weight_packed|SCB|absmax|weight_scale(_inv)?)|_blocks)$")
_OWN_FILES = {  # older tools write this next to a config.json that says nothing
    "quantize_config.json": lambda found: {"quant_method": "gptq"} | found,
    "quant_config.json": lambda found: {"quant_method": "awq", "bits": found.get("w_bit")} | found,
    "hf_quant_config.json": lambda found: {"quant_method": "modelopt"} | (found.get("quantization") or {}),
}


def quantization_of(config: Mapping[str, Any], folder: Path | None = None) -> Mapping[str, Any] | None:
    """What config.json, or a file of an older tool in the folder, says of the quantisation; None where nothing does."""
    for part in (config, config.get("text_config") or {}):
        for name in ("quantization_config", "compression_config"):
            if isinstance(part.get(name), dict):
                return dict(part[name])
    for name, read in _OWN_FILES.items():
        path = folder / name if folder is not None else None
        if path is not None and path.is_file():
            try:
                return dict(read(json.loads(path.read_text(encoding="utf-8"))))
            except (ValueError, AttributeError, TypeError):
                return {"quant_method": name}
    return None


def gives_gradients(quantization: Mapping[str, Any] | None) -> bool:
    """Whether the library that multiplies by weights coded like that gives gradients by its inputs."""
    if quantization is None:
        return True
    method = str(quantization.get("quant_method", "bitsandbytes")).casefold()
    if method == "torchao":  # rounding inputs as well leaves no slope
        return "dynamicactivation" not in json.dumps(quantization, default=str).casefold()
    if method == "compressed-tensors":
        groups = quantization.get("config_groups")
        return bool(groups) and not any(group.get("input_activations") for group in groups.values())
    return method in ("bitsandbytes", "gptq", "awq")


def parameter_shapes(tensors: StoredTensors, quantization: Mapping[str, Any] | None) -> Shapes | None:
    """Shape of each parameter of the model that the tensors code; None where the files do not tell.

    Args:
        quantization: as from `quantization_of`; None: the weights are as they are used.
    """
    named = {name: tensor for name, tensor in tensors.items() if not _BUFFER.search(name)}
    if quantization is None:
        if any(_SIGN.search(name) for name in named):
            return None
        return {name: shape for name, (dtype, shape) in named.items() if dtype in _FLOATS or dtype.startswith("F8")}
    bits = weight_bits(quantization)
    found: Shapes = {}
    for name, (dtype, shape) in named.items():
        packed = f"{name}.absmax" in tensors or (dtype not in _FLOATS and bool(_PACKED_NAME.search(name)))
        if _AIDS.search(name) or (dtype in ("I64", "BOOL") and not packed):
            continue
        if (dtype in _FLOATS and not packed) or dtype.startswith("F8"):
            found[name] = shape
        elif not packed or bits is None or dtype not in _PACKED_BITS or prod(shape) * _PACKED_BITS[dtype] % bits:
            return None
        else:
            found[_plain_name(name)] = (prod(shape) * _PACKED_BITS[dtype] // bits,)
    return found


def weight_bits(quantization: Mapping[str, Any]) -> int | None:
    """Bits of a quantised weight; None where they are not the same everywhere, or not known here."""
    method = str(quantization.get("quant_method", "")).casefold()
    bits: Any = None
    if method == "bitsandbytes" or "load_in_4bit" in quantization:
        four = quantization.get("load_in_4bit") or quantization.get("_load_in_4bit")
        bits = 4 if four else 8
    elif method in ("gptq", "awq", "auto-round"):
        varies = quantization.get("dynamic") or quantization.get("extra_config")
        bits = None if varies else quantization.get("bits")
    elif method == "compressed-tensors":
        bits = _of_groups(quantization)
    elif method == "modelopt":
        algorithm = str(quantization.get("quant_algo", ""))
        bits = 4 if algorithm.startswith(("NVFP4", "W4A")) else 8 if algorithm.startswith(("FP8", "W8A8")) else None
    else:
        bits = {"mxfp4": 4, "nvfp4": 4, "fp8": 8, "fbgemm_fp8": 8, "eetq": 8, "bitnet": 2}.get(method)
    return bits if isinstance(bits, int) and 0 < bits <= 8 else None


def _of_groups(quantization: Mapping[str, Any]) -> int | None:
    """Bits of all groups of a compressed-tensors checkpoint; None where they differ, or zeros are left out."""
    sparse = (quantization.get("sparsity_config") or {}).get("format", "dense") != "dense"
    formats = [str(quantization.get("format", ""))]
    bits = set()
    for group in (quantization.get("config_groups") or {}).values():
        formats.append(str(group.get("format") or ""))
        bits.add((group.get("weights") or {}).get("num_bits"))
    if sparse or any("24" in name or "sparse" in name for name in formats) or len(bits) != 1:
        return None
    (only,) = bits
    return only if only in (2, 4, 8) else None  # others leave gaps in the words that they are packed into


def _plain_name(name: str) -> str:
    return _PACKED_NAME.sub(lambda match: ".weight" if match["what"] else "", name)
