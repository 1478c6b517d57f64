"""Answers of a torch model whose activations are perturbed: losses and gradients for attacks, verdicts for the harness.

Rows run in full and unpadded, those of equal shape together; nothing is shared between them but the forward.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from harness.api.model.backend import (
    Generated,
    GenerateItem,
    LatentAnswer,
    LatentItem,
    Perturbed,
    PerturbItem,
    Target,
)
from harness.api.requests import PerturbAnswer
from harness.engine.losses import loss_of
from harness.engine.torch.activations.hidden_layers import (
    LayerPerturbation,
    hidden_layers,
    layer_perturbations,
    no_such_layer,
    perturbed_layers,
)
from harness.engine.torch.arrays import to_numpy, without_nan
from harness.engine.torch.devices import input_device
from harness.engine.torch.flop_counter import FlopCount
from harness.engine.torch.generation.generator import Generator
from harness.engine.torch.gradients.embeddings import summed_loss
from harness.engine.torch.heads import Head, outputs_and_wrong
from harness.engine.torch.memory.chunks import Chunker, WorkKind
from harness.engine.torch.scoring.unsupported import MODEL_ERRORS, reason_of
from harness.engine.torch.self_check.tolerance import FIXED_TOLERANCES, deviation_message, relative_difference
from harness.engine.torch.token_rows import group_by_key, target_length, whole_row
from harness.errors import VictimError
from harness.tokens.tokenizer import Floats, Tokens

_CHECKED = 8  # tokens of the row of the self-check
_NAN = "with its activations perturbed (a smaller radius may help) the model answered NaN"


class Perturbations:
    """Perturbed answers of one model. When it is made, adding zeros in each layer is compared with a plain forward.

    Attributes:
        widths: of the activations that can be perturbed: the embeddings', then each layer's.
        difference: of the head's outputs, found by the check, relative to the largest if that is above 1; None where
            it failed.
        reason: why nothing can be perturbed, or "".
    """

    def __init__(
        self,
        model: Any,
        head: Head,
        chunkers: Mapping[WorkKind, Chunker],
        flop_count: FlopCount,
        ordinary_ids: Tokens,
        context: int,
    ) -> None:
        """Look at the model, and check.

        Args:
            chunkers: tokens per forward, by kind of work.
            flop_count: coefficients of a plain pass.
            ordinary_ids: to make the row of the check of.
            context: longest row in tokens.
        """
        self._model, self._head, self._chunkers, self._flop_count = model, head, chunkers, flop_count
        self._device = input_device(model)
        self.widths: list[int] = []
        self.difference: float | None = None
        self.reason = ""
        try:
            self._layers = hidden_layers(model)
            self._check(np.resize(ordinary_ids, min(_CHECKED, context)), ordinary_ids)
        except VictimError as error:
            self.reason = str(error)
        except MODEL_ERRORS as error:
            self.reason = f"{type(model).__name__}: its activations cannot be perturbed ({reason_of(error)})"

    def to_json(self) -> dict[str, object]:
        """Plain data for the manifest."""
        return {"layers": max(0, len(self.widths) - 1), "difference": self.difference, "reason": self.reason}

    def perturb(self, items: Sequence[PerturbItem]) -> list[Perturbed]:
        """Losses and gradients, in order; rows valid and within the context.

        Raises:
            VictimError: no such layer, activations of another width, NaN, no memory for one row.
        """
        deltas = [self._delta(item.layer, len(item.tokens), item.delta) for item in items]
        answers: dict[int, Perturbed] = {}
        shapes = [(i.layer, len(i.before), len(i.tokens), len(i.after), target_length(i.target)) for i in items]
        for (layer, *lengths, _), members in group_by_key(shapes).items():
            run, length = partial(self._backward, items, deltas), sum(lengths)
            for i, (outputs, gradient, scale, wrong) in self._chunkers["gradient"].map_members(run, members, length):
                loss = float(loss_of(outputs, items[i].target))
                flops = self._gradient_flops(layer, length, items[i].target)
                answers[i] = Perturbed(PerturbAnswer(loss, gradient, float(scale)), flops, int(wrong))
        return [answers[i] for i in range(len(items))]

    def _backward(
        self, items: Sequence[PerturbItem], deltas: Sequence[Floats], members: list[int]
    ) -> Iterator[tuple[Floats, Floats, Floats, Floats]]:
        """For each member, all of one shape and layer: outputs of the head [width], the gradient by its delta [S, H],
        the mean norm [] of the unperturbed activations, and how many of the target's tokens are wrong [].
        """
        first, delta = items[members[0]], self._tensor([deltas[i] for i in members]).requires_grad_(True)
        rows = self._tensor([whole_row(items[i]) for i in members])
        targets = self._tensor([items[i].target for i in members])
        perturbation = LayerPerturbation(first.layer, range(len(delta)), [len(first.before)] * len(delta), delta)
        with torch.enable_grad(), perturbed_layers(self._model, [perturbation]) as norms:
            outputs, wrong = outputs_and_wrong(self._head, self._model, rows, targets)
            (gradient,) = torch.autograd.grad(summed_loss(outputs, targets), [delta])
        return zip(
            *(without_nan(to_numpy(x), _NAN, self._model) for x in (outputs, gradient, norms[0][0], wrong)), strict=True
        )

    def read(self, items: Sequence[LatentItem], rows: Sequence[Tokens]) -> list[LatentAnswer]:
        """Label logits, or the loss of the target; in order. Raises as `perturb`.

        Args:
            rows: ids of each prompt; valid, and within the context.
        """
        for item, row in zip(items, rows, strict=True):
            self._delta(item.latent.layer, item.latent.shape[0], item.latent.array)
            if not 0 <= item.start <= len(row) - item.latent.shape[0]:
                raise VictimError(f"a perturbation from token {item.start} on does not fit a row of {len(row)} tokens")
        answers: dict[int, LatentAnswer] = {}
        shapes = [(len(row), target_length(item.target)) for item, row in zip(items, rows, strict=True)]
        for (length, _), members in group_by_key(shapes).items():
            run = partial(self._forward, items, rows)
            for i, (outputs, scale) in self._chunkers["score"].map_members(run, members, length):
                flops = sum(self._flop_count.forward(*run) for run in self._head.forwards(length, items[i].target))
                answers[i] = self._answer(items[i], outputs, float(scale), flops)
        return [answers[i] for i in range(len(items))]

    def _forward(
        self, items: Sequence[LatentItem], rows: Sequence[Tokens], members: list[int]
    ) -> Iterator[tuple[Floats, Floats]]:
        """For each member, all of one length: outputs of the head [width], and the mean norm [] of the unperturbed
        activations.
        """
        perturbations, scales = self._perturbations([items[i] for i in members]), np.empty(len(members))
        ids, targets = self._tensor([rows[i] for i in members]), self._tensor([items[i].target for i in members])
        with torch.inference_mode(), perturbed_layers(self._model, perturbations) as norms:
            outputs = self._head.outputs(self._model, ids, targets)
        for perturbation, own_norms in zip(perturbations, norms, strict=True):
            scales[list(perturbation.rows)] = without_nan(to_numpy(own_norms[0]), _NAN, self._model)
        return zip(to_numpy(outputs), scales, strict=True)

    def _answer(self, item: LatentItem, outputs: Floats, scale: float, flops: float) -> LatentAnswer:
        if item.latent.beyond(item.radius, scale):  # whatever came of it, NaN included
            return LatentAnswer(np.empty(0), scale, flops, beyond=True)
        without_nan(outputs, _NAN, self._model)
        loss = float("nan") if self._head.n_labels else float(loss_of(outputs, item.target))
        return LatentAnswer(outputs[: self._head.n_labels], scale, flops, loss)

    def generate(self, items: Sequence[LatentItem], generator: Generator) -> list[Generated]:
        """Greedy answers in text, in order; items that `read` takes. Raises as `Generator.generate`."""
        prompts = [GenerateItem(item.prompt, item.max_tokens, conversation=item.conversation) for item in items]

        def batch_context(batch: list[int], cached: bool) -> AbstractContextManager[object]:
            return perturbed_layers(self._model, self._perturbations([items[i] for i in batch]), once=cached)

        return generator.generate(prompts, batch_context)

    def _perturbations(self, items: Sequence[LatentItem]) -> list[LayerPerturbation]:
        """What perturbs a batch of these prompts."""
        return layer_perturbations([(row, item.start, item.latent) for row, item in enumerate(items)], self._device)

    def _delta(self, layer: int, tokens: int, delta: Floats | None) -> Floats:
        """What is added [tokens, H], zeros where nothing is given; raises VictimError where it does not fit the
        model.
        """
        if self.reason:
            raise VictimError(self.reason)
        if not 0 <= layer < len(self.widths):
            raise no_such_layer(self._model, layer, len(self._layers))
        if delta is None:
            return np.zeros((tokens, self.widths[layer]))
        if delta.shape[1] != self.widths[layer]:
            raise VictimError(
                f"a perturbation of width {delta.shape[1]}, and the activations of layer {layer} have width "
                f"{self.widths[layer]}"
            )
        return delta

    def _check(self, row: Tokens, ordinary_ids: Tokens) -> None:
        """Find out the widths, and that adding nothing changes nothing."""
        target: Target = 0 if self._head.n_labels else (int(ordinary_ids[0]),)
        shapes: dict[int, list[tuple[int, ...]]] = defaultdict(list)  # of each layer's activations, by forward

        def record(at: int, output: Any) -> None:
            activations = output[0] if isinstance(output, tuple) else output
            shapes[at].append(tuple(activations.shape) if isinstance(activations, Tensor) else ())

        def outputs(_: slice = slice(1)) -> Floats:
            with torch.inference_mode():
                found = self._head.outputs(self._model, self._tensor(row[None]), self._tensor([target]))
            return without_nan(to_numpy(found), _NAN, self._model)

        with ExitStack() as hooks:
            for at, layer in enumerate(self._layers):
                hooks.enter_context(layer.register_forward_hook(lambda _m, _in, out, at=at: record(at, out)))
            ((_, plain),) = self._chunkers["score"].map(outputs, 1, len(row))
        forwards = len(self._head.forwards(len(row), target))
        for at in range(len(self._layers)):
            if len(shapes[at]) != forwards or any(len(shape) != 3 or shape[0] != 1 for shape in shapes[at]):
                raise VictimError(
                    f"{type(self._model).__name__}: layer {at} does not return the activations of all tokens once, so "
                    "they cannot be perturbed; use another victim, or another attack"
                )
        widths = [shapes[at][0][2] for at in range(len(self._layers))]
        zeros = [LayerPerturbation(at, [0], [0], torch.zeros(1, len(row), width)) for at, width in enumerate(widths)]
        with perturbed_layers(self._model, zeros):
            ((_, found),) = self._chunkers["score"].map(outputs, 1, len(row))
        self.difference = relative_difference(found, plain)
        tolerance = FIXED_TOLERANCES[self._model.dtype]
        why = deviation_message("answers with a perturbation of zeros", self.difference, tolerance)
        if why:
            raise VictimError(f"{type(self._model).__name__}: {why}; use another victim, or another attack")
        self.widths = widths

    def _gradient_flops(self, layer: int, length: int, target: Target) -> float:
        """FLOPs of forward and backward down to a layer."""
        flops, count = 0.0, self._flop_count
        share_below = layer / (len(self._layers) - 1)
        for tokens, logit_positions in self._head.forwards(length, target):
            attention = count.attention_backward * count.per_pair * tokens * tokens
            linear_below = sum(_per_token_flops(module) for module in self._layers[1 : layer + 1]) * tokens
            flops += count.gradient(tokens, logit_positions) - linear_below - share_below * attention
        return flops

    def _tensor(self, data: Any) -> Tensor:
        """Ids as they are, numbers in float32, where the model takes its inputs."""
        array = np.asarray(data)
        return torch.as_tensor(array.astype(np.float32) if array.dtype.kind == "f" else array).to(self._device)


def _per_token_flops(module: nn.Module) -> float:
    """FLOPs of a layer's linear layers per token."""
    return sum(2.0 * m.weight.numel() for m in module.modules() if isinstance(m, nn.Linear | Conv1D))
