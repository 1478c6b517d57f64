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
class LayerPerturbation:
    """What is added to the activations of one layer in a batch's forward.

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


def hidden_layers(model: Any) -> list[nn.Module]:
    """The input embedding, and after it the layers in their order; what they return can be perturbed.

    Raises:
        VictimError: the layers cannot be told from the model's other parts.
    """
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    lists: list[nn.ModuleList] = []
    inside: set[int] = set()
    for module in model.modules():  # what holds others comes first: experts in a layer are no layers
        if isinstance(module, nn.ModuleList) and len(module) == count and id(module) not in inside:
            lists.append(module)
            inside |= {id(inner) for inner in module.modules()}
    if len(lists) != 1:
        raise VictimError(
            f"{type(model).__name__}: {len(lists)} lists of {count} layers where one was expected, so its activations "
            "cannot be perturbed; use another victim, or another attack"
        )
    return [model.get_input_embeddings(), *lists[0]]


def no_such_layer(model: Any, layer: int, known: int) -> VictimError:
    """The error for a layer beyond those ``known``, the embeddings counted in."""
    return VictimError(f"layer {layer}: {type(model).__name__} has layers 1 to {known - 1}, and 0 is its embeddings")


@contextmanager
def perturbed_layers(
    model: Any, perturbations: Sequence[LayerPerturbation], *, once: bool = False
) -> Iterator[list[list[Tensor]]]:
    """Within, each forward of the model adds the perturbations.

    Args:
        once: only the first forward does: those after it go on from its keys and values.

    Yields:
        for each perturbation, the mean L2 norm [k] of the unperturbed activations in its place, in each forward.

    Raises:
        VictimError: the layers cannot be told, or there is no such one; when the model is run, activations of another
            width.
    """
    norms: list[list[Tensor]] = [[] for _ in perturbations]
    layers = hidden_layers(model) if perturbations else []
    with ExitStack() as stack:
        for perturbation, own_norms in zip(perturbations, norms, strict=True):
            if not 0 <= perturbation.layer < len(layers):
                raise no_such_layer(model, perturbation.layer, len(layers))
            hook = _PerturbingHook(perturbation, own_norms, once)
            stack.enter_context(layers[perturbation.layer].register_forward_hook(hook))
        yield norms


@dataclass
class _PerturbingHook:
    perturbation: LayerPerturbation
    norms: list[Tensor]
    once: bool

    def __call__(self, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        if self.once and self.norms:
            return None
        activations = output[0] if isinstance(output, tuple) else output
        changed = self._changed(activations)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    def _changed(self, activations: Tensor) -> Tensor:
        device, delta = activations.device, self.perturbation.delta.to(activations.device)
        width = delta.shape[-1]
        if activations.dim() != 3 or activations.shape[-1] != width:
            raise VictimError(
                f"layer {self.perturbation.layer}: its activations have shape {list(activations.shape)}, the "
                f"perturbation is for [rows, tokens, {width}]"
            )
        rows = torch.as_tensor(self.perturbation.rows, device=device)[:, None]
        starts = torch.as_tensor(self.perturbation.starts, device=device)[:, None]
        index = rows, starts + torch.arange(delta.shape[1], device=device)
        before = activations[index].to(torch.promote_types(activations.dtype, torch.float32))
        self.norms.append(before.detach().norm(dim=-1).mean(-1))
        return activations.index_put(index, (before + delta).to(activations.dtype))


def layer_perturbations(latents: Sequence[tuple[int, int, Latent]], device: torch.device) -> list[LayerPerturbation]:
    """Perturbations of a batch, those of one layer and shape together.

    Args:
        latents: (row of the batch, first position, perturbation) of each row that has one.
    """
    groups: defaultdict[tuple[int, tuple[int, int]], list[tuple[int, int, Latent]]] = defaultdict(list)
    for entry in latents:
        groups[entry[2].layer, entry[2].shape].append(entry)
    perturbations = []
    for (layer, _), group in groups.items():
        rows, starts, members = zip(*group, strict=True)
        delta = torch.as_tensor(np.stack([latent.array for latent in members]), dtype=torch.float32, device=device)
        perturbations.append(LayerPerturbation(layer, rows, starts, delta))
    return perturbations
