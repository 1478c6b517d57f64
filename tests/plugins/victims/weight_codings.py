"""A model folder with its matrices as GPTQ, AWQ and compressed-tensors store them, and what these codes stand for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

GROUP = 32
"""Inputs that share a scale."""

Coded = tuple[dict[str, torch.Tensor], torch.Tensor]


def _with_zero_points(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes [out, in], scales and zero points [out, groups], and the matrix [out, in] that they stand for."""
    blocks = weight.reshape(len(weight), -1, GROUP)
    low, high = blocks.amin(-1, keepdim=True), blocks.amax(-1, keepdim=True)
    scale = ((high - low) / 15).half().float()
    zero = (-low / scale).round().clamp(0, 15)
    codes = (blocks / scale + zero).round().clamp(0, 15)
    stands_for = ((codes - zero) * scale).reshape(weight.shape)
    return codes.reshape(weight.shape).long(), scale[..., 0], zero[..., 0].long(), stands_for


def _words(codes: torch.Tensor, dim: int, order: Sequence[int] = range(8)) -> torch.Tensor:
    """Eight codes in each int32, the first in the lowest bits."""
    eights = codes.movedim(dim, -1).unflatten(-1, (-1, 8))
    word = sum(eights[..., at] << (4 * place) for place, at in enumerate(order))
    assert isinstance(word, torch.Tensor)
    return torch.where(word < 2**31, word, word - 2**32).int().movedim(-1, dim).contiguous()


def gptq(layer: str, weight: torch.Tensor) -> Coded:
    codes, scale, zero, stands_for = _with_zero_points(weight)
    return {
        f"{layer}.qweight": _words(codes.T, 0),
        f"{layer}.qzeros": _words(zero.T - 1, 1),  # the format of version 1 keeps them less one
        f"{layer}.scales": scale.T.half().contiguous(),
        f"{layer}.g_idx": (torch.arange(weight.shape[1]) // GROUP).int(),
    }, stands_for


def awq(layer: str, weight: torch.Tensor) -> Coded:
    codes, scale, zero, stands_for = _with_zero_points(weight)
    order = (0, 2, 4, 6, 1, 3, 5, 7)
    return {
        f"{layer}.qweight": _words(codes.T, 1, order),
        f"{layer}.qzeros": _words(zero.T, 1, order),
        f"{layer}.scales": scale.T.half().contiguous(),
    }, stands_for


def compressed(layer: str, weight: torch.Tensor) -> Coded:
    blocks = weight.reshape(len(weight), -1, GROUP)
    scale = (blocks.abs().amax(-1, keepdim=True) / 7.5).half().float()
    codes = (blocks / scale).round().clamp(-8, 7)
    return {
        f"{layer}.weight_packed": _words((codes + 8).long().reshape(weight.shape), 1),
        f"{layer}.weight_scale": scale[..., 0].half(),
        f"{layer}.weight_shape": torch.tensor(weight.shape),
    }, (codes * scale).reshape(weight.shape)


def compressed_int8(layer: str, weight: torch.Tensor) -> Coded:
    scale = weight.abs().amax(-1, keepdim=True) / 127
    codes = (weight / scale).round().clamp(-128, 127)
    return {f"{layer}.weight": codes.char(), f"{layer}.weight_scale": scale}, codes * scale


_WEIGHTS = {"type": "int", "symmetric": True, "num_bits": 4, "strategy": "group", "group_size": GROUP}
_CHANNELS = {"type": "int", "symmetric": True, "num_bits": 8, "strategy": "channel"}
_ROWS = {"type": "int", "symmetric": True, "num_bits": 8, "strategy": "token", "dynamic": True}


def _compressed_tensors(form: str, **group: Any) -> dict[str, Any]:
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "ignore": ["lm_head", "score"],
        "config_groups": {"group_0": {"targets": ["Linear"], **group}},
    }


CODINGS: dict[str, tuple[str, dict[str, Any], Callable[[str, torch.Tensor], Coded]]] = {
    "gptq": (
        "gptqmodel",
        {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": False, "sym": False},
        gptq,
    ),
    "awq": (
        "gptqmodel",
        {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"},
        awq,
    ),
    "compressed-tensors": ("compressed_tensors", _compressed_tensors("pack-quantized", weights=_WEIGHTS), compressed),
    "compressed-tensors, rounded inputs": (
        "compressed_tensors",
        _compressed_tensors("int-quantized", weights=_CHANNELS, input_activations=_ROWS),
        compressed_int8,
    ),
}
"""The package that reads it, what config.json says, and the coding of one matrix."""


def write_coded(source: Path, into: Path, how: str) -> tuple[Path, Path]:
    """Two copies of a model folder: with what the codes of its layers' matrices stand for, and with these codes."""
    _, told, code = CODINGS[how]
    coded, stands_for = {}, {}
    for name, tensor in load_file(source / "model.safetensors").items():
        coded[name] = stands_for[name] = tensor
        if ".layers." in name and tensor.dim() == 2:
            del coded[name]
            codes, stands_for[name] = code(name.removesuffix(".weight"), tensor)
            coded |= codes
    folders = into / "stands-for", into / "coded"
    for folder, tensors in zip(folders, (stands_for, coded), strict=True):
        shutil.copytree(source, folder)
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(whole, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folders[1] / "config.json").read_text())
    (folders[1] / "config.json").write_text(json.dumps(config | {"quantization_config": told}))
    return folders
