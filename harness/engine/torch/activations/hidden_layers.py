"""Where activations can be perturbed: a model's embeddings and the outputs of its layers, found without its names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.api.problem.latent import Latent
from harness.errors import VictimError


@dataclass(frozen=True)
class Push:
    """What is added in one place of a forward.

    Attributes:
        layer: 0 for the input embeddings, else the number of a layer.
        rows: of the batch, [k], none twice.
        starts: first position in each, [k].
        delta: shape [k, S, H]; its gradient is that of the perturbation.
    """

    layer: int
    rows: Sequence[int]
    starts: Sequence[int]
    delta: Tensor


def sites(model: Any) -> list[nn.Module]:
    """The input embedding, and after it the layers in their order; what they return can be perturbed.

    Raises:
        VictimError: the layers cannot be told from the model's other parts.
    """
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    found: list[nn.ModuleList] = []
    inside: set[int] = set()
    for module in model.modules():  # what holds others comes first: experts in a layer are no layers
        if isinstance(module, nn.ModuleList) and len(module) == count and id(module) not in inside:
            found.append(module)
            inside |= {id(inner) for inner in module.modules()}
    if len(found) != 1:
        raise VictimError(
            f"{type(model).__name__}: {len(found)} lists of {count} layers where one was expected, so its activations "
            "cannot be perturbed; use another victim, or another attack"
        )
    return [model.get_input_embeddings(), *found[0]]


def no_such_layer(model: Any, layer: int, known: int) -> VictimError:
    """What to say of a layer beyond those ``known``, the embeddings counted in."""
    return VictimError(f"layer {layer}: {type(model).__name__} has layers 1 to {known - 1}, and 0 is its embeddings")


@contextmanager
def pushed(model: Any, pushes: Sequence[Push], *, once: bool = False) -> Iterator[list[list[Tensor]]]:
    """Within, each forward of the model adds the perturbations.

    Args:
        once: only the first forward does: those after it go on from its keys and values.

    Yields:
        for each push, the mean L2 norm of the unperturbed activations in its place, [k], in each forward.

    Raises:
        VictimError: the layers cannot be told, or there is no such one; when the model is run, activations of another
            width.
    """
    seen: list[list[Tensor]] = [[] for _ in pushes]
    known = sites(model) if pushes else []
    with ExitStack() as stack:
        for push, norms in zip(pushes, seen, strict=True):
            if not 0 <= push.layer < len(known):
                raise no_such_layer(model, push.layer, len(known))
            hook = _Hook(push, norms, once)
            stack.callback(known[push.layer].register_forward_hook(hook).remove)
        yield seen


@dataclass
class _Hook:
    push: Push
    norms: list[Tensor]
    once: bool

    def __call__(self, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        if self.once and self.norms:
            return None
        whole = output[0] if isinstance(output, tuple) else output
        changed = self._changed(whole)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    def _changed(self, whole: Tensor) -> Tensor:
        delta = self.push.delta.to(whole.device)
        width = delta.shape[-1]
        if whole.dim() != 3 or whole.shape[-1] != width:
            raise VictimError(
                f"layer {self.push.layer}: its activations have shape {list(whole.shape)}, the perturbation is for "
                f"[rows, tokens, {width}]"
            )
        rows = torch.as_tensor(self.push.rows, device=whole.device)[:, None]
        starts = torch.as_tensor(self.push.starts, device=whole.device)[:, None]
        places = rows, starts + torch.arange(delta.shape[1], device=whole.device)
        here = whole[places].to(torch.promote_types(whole.dtype, torch.float32))
        self.norms.append(here.detach().norm(dim=-1).mean(-1))
        return whole.index_put(places, (here + delta).to(whole.dtype))


def pushes(places: Sequence[tuple[int, int, Latent]], device: torch.device) -> list[Push]:
    """What perturbs some rows of a batch: (row, first position, perturbation) of each."""
    groups: defaultdict[tuple[int, tuple[int, int]], list[tuple[int, int, Latent]]] = defaultdict(list)
    for place in places:
        groups[place[2].layer, place[2].shape].append(place)
    found = []
    for (layer, _), group in groups.items():
        rows, starts, latents = zip(*group, strict=True)
        delta = torch.as_tensor(np.stack([latent.array for latent in latents]), dtype=torch.float32, device=device)
        found.append(Push(layer, rows, starts, delta))
    return found
