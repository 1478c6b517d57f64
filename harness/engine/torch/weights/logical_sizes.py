"""Sizes of the weights that a model computes with, however they are stored: nf4 keeps two of them in a byte."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any


def linear_layers(model: Any) -> Iterator[tuple[Any, int]]:
    """Each layer that multiplies by a matrix, with the number of the matrix's entries.

    A quantised layer need not be `nn.Linear`, but tells its widths; of an adapter's layer the parts count: the matrix
    beneath it and the two that it adds.
    """
    from transformers.pytorch_utils import Conv1D

    for module in model.modules():
        if isinstance(module, Conv1D):
            yield module, module.weight.numel()
        elif _is_linear(module) and not any(_is_linear(part) for part in module.modules() if part is not module):
            yield module, module.in_features * module.out_features


def parameter_sizes(model: Any) -> dict[int, int]:
    """Number of weights that each parameter stands for, by its ``id``, tied ones once. A matrix that is packed counts
    as unpacked; what unpacks it (scales, zero points) does not count.
    """
    sizes: dict[int, int] = {}
    for layer, entries in linear_layers(model):
        parameters = dict(layer.named_parameters(recurse=False))
        stored = parameters.pop("weight", None)
        sizes[id(layer if stored is None else stored)] = entries
        for name, parameter in parameters.items():  # a bias, or what belongs to the coding
            sizes[id(parameter)] = parameter.numel() if name == "bias" else 0
        if "bias" not in parameters and getattr(layer, "bias", None) is not None:
            sizes[id(layer.bias)] = layer.bias.numel()
    for parameter in model.parameters():
        sizes.setdefault(id(parameter), _size(parameter))
    return sizes


def size_of(module: Any) -> int:
    """Number of weights in the matrix of a linear layer or embedding."""
    return module.in_features * module.out_features if _is_linear(module) else _size(module.weight)


def _size(parameter: Any) -> int:
    shape = getattr(getattr(parameter, "quant_state", None), "shape", None)
    return prod(shape) if shape is not None else int(parameter.numel())


def _is_linear(module: Any) -> bool:
    widths = getattr(module, "in_features", None), getattr(module, "out_features", None)
    return all(isinstance(width, int) for width in widths)
