"""What a forward computes after its last attention layer, and how to compute it for the tokens that are read alone.

After the last attention layer tokens no longer look at each other, and only the ends of candidates are read. The
modules that hold the work there (its output projection, its feed-forward block) are found by watching one small
forward, whatever the model calls them; in scoring they are given the rows that are read and their outputs are put back
in place. The self-check sees what comes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from harness.engine.torch.scoring.packed.packed_pass import PackedPass, current_pass


@dataclass
class LastLayerTrim:
    """What can be run on the tokens that are read alone, found by `find_last_layer_trim`.

    Attributes:
        layers: attention layers of a forward.
        modules: what runs on each token by itself after the last of them.
        per_token: FLOPs of their linear layers per token.
    """

    layers: int = 0
    modules: list[nn.Module] = field(default_factory=list)
    per_token: float = 0.0

    @contextmanager
    def trimmed(self) -> Iterator[None]:
        """Within, packed forwards that have a last layer run the modules on the tokens that are read alone."""
        with ExitStack() as hooks:
            for module in self.modules:
                hooks.enter_context(module.register_forward_pre_hook(_gather))
                hooks.enter_context(module.register_forward_hook(_scatter))
            yield


@dataclass
class _Call:
    """One call of a module in the forward that is watched.

    Attributes:
        layers_done: attention layers that have run before it.
        tokenwise: whether one tensor of all tokens goes in and one comes out.
    """

    module: nn.Module
    layers_done: int
    tokenwise: bool


def find_last_layer_trim(body: Any, run: Callable[[], int], tokens: int) -> LastLayerTrim:
    """Watch one forward.

    Args:
        body: the model below its head.
        run: a packed forward of one row of ``tokens`` tokens; returns the number of attention layers.
    """
    calls: list[_Call] = []
    with ExitStack() as hooks:
        for module in body.modules():
            hooks.enter_context(module.register_forward_pre_hook(_record_call(calls, tokens), with_kwargs=True))
            hooks.enter_context(module.register_forward_hook(_record_output(calls, tokens)))
        trim = LastLayerTrim(run())
    covered: set[int] = set()
    for call in calls:
        if call.layers_done < trim.layers or id(call.module) in covered:
            continue
        parts = list(call.module.modules())
        linear = [m for m in parts if isinstance(m, nn.Linear | Conv1D)]
        ids = {id(m) for m in parts}
        calls_of_parts = [c for c in calls if id(c.module) in ids]
        if not linear or not call.tokenwise or any(c.layers_done < trim.layers for c in calls_of_parts):
            continue
        # The cost is known where every layer runs once on every token.
        if all(sum(c.module is m and c.tokenwise for c in calls_of_parts) == 1 for m in linear):
            covered |= ids
            trim.modules.append(call.module)
            trim.per_token += sum(2.0 * m.weight.numel() for m in linear)
    return trim


def _holds_all_tokens(x: object, tokens: int) -> bool:
    return isinstance(x, Tensor) and x.dim() == 3 and x.shape[:2] == (1, tokens)


def _record_call(calls: list[_Call], tokens: int) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        packed = current_pass()
        tokenwise = len(args) == 1 and not kwargs and _holds_all_tokens(args[0], tokens)
        calls.append(_Call(module, packed.layers_done if packed else 0, tokenwise))

    return hook


def _record_output(calls: list[_Call], tokens: int) -> Callable[..., None]:
    def hook(module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        if not _holds_all_tokens(output, tokens):
            next(call for call in reversed(calls) if call.module is module).tokenwise = False

    return hook


def _pass_after_last_layer() -> PackedPass | None:
    """The pass that is being run, where its last attention layer is done."""
    packed = current_pass()
    if packed is None or packed.last_layer is None or packed.layers_done <= packed.last_layer:
        return None
    return packed


def _gather(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Give a module the tokens alone that are read."""
    packed = _pass_after_last_layer()
    if packed is None:
        return None
    return (args[0].index_select(1, packed.read_at.to(args[0].device)), *args[1:])


def _scatter(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor | None:
    """Put a module's output back in place; zeros elsewhere."""
    packed = _pass_after_last_layer()
    if packed is None:
        return None
    rows = torch.zeros(1, packed.tokens, output.shape[2], dtype=output.dtype, device=output.device)
    return rows.index_copy_(1, packed.read_at.to(output.device), output)
