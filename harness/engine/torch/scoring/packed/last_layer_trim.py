"""What a forward computes after its last attention layer, and how to compute it for the tokens that are read alone.

After the last attention layer tokens no longer look at each other, and only the ends of candidates are read. The
modules that hold the work there (its output projection, its feed-forward block) are found by watching one small
forward, whatever the model calls them; in scoring they are given the rows that are read and their outputs are put back
in place. The self-check sees what comes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from harness.engine.torch.scoring.packed.packed_pass import current


@dataclass
class LastLayerTrim:
    """Found by `find`.

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
        """Within, packed forwards that have a final layer run the modules on the tokens that are read alone."""
        hooks = [m.register_forward_pre_hook(_gather) for m in self.modules]
        hooks += [m.register_forward_hook(_scatter) for m in self.modules]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


@dataclass
class _Call:
    """One call of a module: attention layers done before it, whether one tensor of all tokens goes in and out."""

    module: nn.Module
    done: int
    plain: bool


def find(body: Any, run: Callable[[], int], tokens: int) -> LastLayerTrim:
    """Watch one forward.

    Args:
        body: the model below its head.
        run: a packed forward of one row of ``tokens`` tokens; returns the number of attention layers.
    """
    calls: list[_Call] = []
    hooks = []
    for module in body.modules():
        hooks.append(module.register_forward_pre_hook(_before(calls, tokens), with_kwargs=True))
        hooks.append(module.register_forward_hook(_after(calls, tokens)))
    try:
        tail = LastLayerTrim(run())
    finally:
        for hook in hooks:
            hook.remove()
    inside: set[int] = set()
    for call in calls:
        if call.done < tail.layers or id(call.module) in inside:
            continue
        parts = list(call.module.modules())
        linear = [m for m in parts if isinstance(m, nn.Linear | Conv1D)]
        ids = {id(m) for m in parts}
        own = [c for c in calls if id(c.module) in ids]
        if not linear or not call.plain or any(c.done < tail.layers for c in own):
            continue
        # The cost is known where every layer runs once on every token.
        if all(sum(c.module is m and c.plain for c in own) == 1 for m in linear):
            inside |= ids
            tail.modules.append(call.module)
            tail.per_token += sum(2.0 * m.weight.numel() for m in linear)
    return tail


def _of_all_tokens(x: object, tokens: int) -> bool:
    return isinstance(x, Tensor) and x.dim() == 3 and x.shape[:2] == (1, tokens)


def _before(calls: list[_Call], tokens: int) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        this = current()
        plain = len(args) == 1 and not kwargs and _of_all_tokens(args[0], tokens)
        calls.append(_Call(module, this.layer if this else 0, plain))

    return hook


def _after(calls: list[_Call], tokens: int) -> Callable[..., None]:
    def hook(module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        if not _of_all_tokens(output, tokens):
            next(call for call in reversed(calls) if call.module is module).plain = False

    return hook


def _gather(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    this = current()
    if this is None or this.final is None or this.layer <= this.final:
        return None
    return (args[0].index_select(1, this.read.to(args[0].device)), *args[1:])


def _scatter(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor | None:
    this = current()
    if this is None or this.final is None or this.layer <= this.final:
        return None
    rows = torch.zeros(1, this.tokens, output.shape[2], dtype=output.dtype, device=output.device)
    return rows.index_copy_(1, this.read.to(output.device), output)
