"""Answers of a torch model whose activations are perturbed: losses and gradients for attacks, verdicts for the harness.

Rows run in full and unpadded, those of equal shape together; nothing is shared between them but the forward.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
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
from harness.engine.torch.activations.hidden_layers import Push, no_such_layer, pushed, pushes, sites
from harness.engine.torch.devices import input_device
from harness.engine.torch.flop_counter import FlopCount
from harness.engine.torch.generation.generator import Generator
from harness.engine.torch.gradients.embeddings import summed_loss
from harness.engine.torch.gradients.one_hot import target_width
from harness.engine.torch.heads import Head
from harness.engine.torch.memory.chunks import Chunker, Kind
from harness.engine.torch.scoring.packed.packed_pass import FAILURES, words_of
from harness.engine.torch.scoring.scorer_check import tolerance_of, worded
from harness.engine.torch.self_check.backend_check import relative_difference
from harness.errors import VictimError
from harness.tokens.tokenizer import Floats, Tokens

_CHECKED = 8  # tokens of the row of the self-check


class Perturbations:
    """Of one model. When it is made, perturbations of zeros in all places are compared with a plain forward.

    Attributes:
        widths: of the activations that can be perturbed: the embeddings', then each layer's.
        difference: of readings, found by the check, relative to the largest if that is above 1; None where it failed.
        reason: why nothing can be perturbed, or "".
    """

    def __init__(
        self,
        model: Any,
        head: Head,
        chunkers: Mapping[Kind, Chunker],
        executed: FlopCount,
        usable: Tokens,
        context: int,
    ) -> None:
        """Look at the model, and check.

        Args:
            chunkers: tokens per forward, by kind of work.
            executed: coefficients of a plain pass.
            usable: ordinary ids.
            context: longest row.
        """
        self._model, self._head, self._chunkers, self._executed = model, head, chunkers, executed
        self._device = input_device(model)
        self.widths: list[int] = []
        self.difference: float | None = None
        self.reason = ""
        try:
            self._sites = sites(model)
            self._check(np.resize(usable, min(_CHECKED, context)), usable)
        except VictimError as error:
            self.reason = str(error)
        except FAILURES as error:
            self.reason = f"{type(model).__name__}: its activations cannot be perturbed ({words_of(error)})"

    def to_json(self) -> dict[str, object]:
        """Plain data for the manifest."""
        return {"layers": max(0, len(self.widths) - 1), "difference": self.difference, "reason": self.reason}

    def perturb(self, items: Sequence[PerturbItem]) -> list[Perturbed]:
        """Losses and gradients, in order; rows valid and within the context.

        Raises:
            VictimError: no such layer, activations of another width, NaN, no memory for one row.
        """
        deltas = [self._delta(item.layer, len(item.tokens), item.delta) for item in items]
        found: dict[int, Perturbed] = {}
        keys = [(i.layer, len(i.before), len(i.tokens), len(i.after), target_width(i.target)) for i in items]
        for (layer, start, *_), group in _groups(keys).items():
            rows = np.stack([_row(items[i]) for i in group])

            def run(
                part: slice, own: list[int] = group, ids: Tokens = rows, at: int = layer, first: int = start
            ) -> list[Floats]:
                delta = self._tensor([deltas[i] for i in own[part]]).requires_grad_(True)
                targets = self._tensor([items[i].target for i in own[part]])
                push = Push(at, range(len(delta)), [first] * len(delta), delta)
                with torch.enable_grad(), pushed(self._model, [push]) as seen:
                    readings = self._head.readings(self._model, self._tensor(ids[part]), targets)
                    (gradient,) = torch.autograd.grad(summed_loss(readings, targets), [delta])
                return [_numbers(x) for x in (readings, gradient, seen[0][0])]

            for part, answers in self._chunkers["gradient"].map(run, *rows.shape):
                for i, readings, gradient, scale in zip(group[part], *answers, strict=True):
                    loss = float(loss_of(readings, items[i].target))
                    flops = self._gradient_flops(layer, rows.shape[1], items[i].target)
                    found[i] = Perturbed(PerturbAnswer(loss, gradient, float(scale)), flops)
        return [found[i] for i in range(len(items))]

    def read(self, items: Sequence[LatentItem], rows: Sequence[Tokens]) -> list[LatentAnswer]:
        """Label logits, or the loss of the target; in order. Raises as `perturb`.

        Args:
            rows: ids of each prompt; valid, and within the context.
        """
        for item, row in zip(items, rows, strict=True):
            self._delta(item.latent.layer, item.latent.shape[0], item.latent.array)
            if not 0 <= item.start <= len(row) - item.latent.shape[0]:
                raise VictimError(f"a perturbation from token {item.start} on does not fit a row of {len(row)} tokens")
        found: dict[int, LatentAnswer] = {}
        keys = [(len(row), target_width(item.target)) for item, row in zip(items, rows, strict=True)]
        for group in _groups(keys).values():
            stacked = np.stack([rows[i] for i in group])

            def run(part: slice, own: list[int] = group, ids: Tokens = stacked) -> list[Floats]:
                chosen = [items[i] for i in own[part]]
                parts, scales = self._pushes(chosen), np.empty(len(chosen))
                targets = self._tensor([item.target for item in chosen])
                with torch.inference_mode(), pushed(self._model, parts) as seen:
                    readings = self._head.readings(self._model, self._tensor(ids[part]), targets)
                for push, norms in zip(parts, seen, strict=True):
                    scales[list(push.rows)] = _numbers(norms[0])
                return [_plain(readings), scales]

            for part, answers in self._chunkers["score"].map(run, *stacked.shape):
                for i, readings, scale in zip(group[part], *answers, strict=True):
                    runs = self._head.forwards(stacked.shape[1], items[i].target)
                    flops = sum(self._executed.forward(*run) for run in runs)
                    found[i] = self._answer(items[i], readings, float(scale), flops)
        return [found[i] for i in range(len(items))]

    def _answer(self, item: LatentItem, readings: Floats, scale: float, flops: float) -> LatentAnswer:
        if item.latent.beyond(item.radius, scale):  # whatever came of it, NaN included
            return LatentAnswer(np.empty(0), scale, flops, beyond=True)
        _without_nan(readings)
        loss = float("nan") if self._head.n_labels else float(loss_of(readings, item.target))
        return LatentAnswer(readings[: self._head.n_labels], scale, flops, loss)

    def say(self, items: Sequence[LatentItem], generator: Generator) -> list[Generated]:
        """Greedy answers in text, in order; items that `read` takes. Raises as `Generator.generate`."""
        asked = [GenerateItem(item.prompt, item.max_tokens) for item in items]
        return generator.generate(
            asked, lambda own, cached: pushed(self._model, self._pushes([items[i] for i in own]), once=cached)
        )

    def _pushes(self, items: Sequence[LatentItem]) -> list[Push]:
        """What perturbs a batch of these prompts."""
        return pushes([(row, item.start, item.latent) for row, item in enumerate(items)], self._device)

    def _delta(self, layer: int, tokens: int, delta: Floats | None) -> Floats:
        """What is added, zeros where nothing is said; raises VictimError where it does not fit the model."""
        if self.reason:
            raise VictimError(self.reason)
        if not 0 <= layer < len(self.widths):
            raise no_such_layer(self._model, layer, len(self._sites))
        if delta is None:
            return np.zeros((tokens, self.widths[layer]))
        if delta.shape[1] != self.widths[layer]:
            raise VictimError(
                f"a perturbation of width {delta.shape[1]}, and the activations of layer {layer} have width "
                f"{self.widths[layer]}"
            )
        return delta

    def _check(self, row: Tokens, usable: Tokens) -> None:
        """Find out the widths, and that adding nothing changes nothing."""
        target: Target = 0 if self._head.n_labels else (int(usable[0]),)
        seen: dict[int, list[tuple[int, ...]]] = defaultdict(list)

        def look(at: int, output: Any) -> None:
            whole = output[0] if isinstance(output, tuple) else output
            seen[at].append(tuple(whole.shape) if isinstance(whole, Tensor) else ())

        def readings(_: slice = slice(1)) -> Floats:
            with torch.inference_mode():
                return _numbers(self._head.readings(self._model, self._tensor(row[None]), self._tensor([target])))

        hooks = [m.register_forward_hook(lambda _m, _in, out, at=at: look(at, out)) for at, m in enumerate(self._sites)]
        try:
            ((_, plain),) = self._chunkers["score"].map(readings, 1, len(row))
        finally:
            for hook in hooks:
                hook.remove()
        forwards = len(self._head.forwards(len(row), target))
        for at in range(len(self._sites)):
            if len(seen[at]) != forwards or any(len(shape) != 3 or shape[0] != 1 for shape in seen[at]):
                raise VictimError(
                    f"{type(self._model).__name__}: layer {at} does not return the activations of all tokens once, so "
                    "they cannot be perturbed; use another victim, or another attack"
                )
        widths = [seen[at][0][2] for at in range(len(self._sites))]
        nothing = [Push(at, [0], [0], torch.zeros(1, len(row), width)) for at, width in enumerate(widths)]
        with pushed(self._model, nothing):
            ((_, found),) = self._chunkers["score"].map(readings, 1, len(row))
        self.difference = relative_difference(found, plain)
        why = worded(self.difference, tolerance_of(self._model), "answers with a perturbation of zeros")
        if why:
            raise VictimError(f"{type(self._model).__name__}: {why}; use another victim, or another attack")
        self.widths = widths

    def _gradient_flops(self, layer: int, length: int, target: Target) -> float:
        """FLOPs of forward and backward down to a layer."""
        spent, cost = 0.0, self._executed
        share = layer / (len(self._sites) - 1)
        for tokens, outputs in self._head.forwards(length, target):
            attention = cost.attention_backward * cost.per_pair * tokens * tokens
            below = sum(_per_token(module) for module in self._sites[1 : layer + 1]) * tokens
            spent += cost.gradient(tokens, outputs) - below - share * attention
        return spent

    def _tensor(self, data: Any) -> Tensor:
        """Ids as they are, numbers in float32, where the model takes its inputs."""
        array = np.asarray(data)
        return torch.as_tensor(array.astype(np.float32) if array.dtype.kind == "f" else array).to(self._device)


def _row(item: PerturbItem) -> Tokens:
    return np.concatenate([item.before, item.tokens, item.after])


def _per_token(module: nn.Module) -> float:
    """FLOPs of a layer's linear layers per token."""
    return sum(2.0 * m.weight.numel() for m in module.modules() if isinstance(m, nn.Linear | Conv1D))


def _plain(x: Tensor) -> Floats:
    found: Floats = x.detach().to("cpu", torch.float64).numpy()
    return found


def _numbers(x: Tensor) -> Floats:
    return _without_nan(_plain(x))


def _without_nan(found: Floats) -> Floats:
    if np.isnan(found).any():
        raise VictimError(
            "the model answered NaN with its activations perturbed; use a smaller radius, or load it with "
            "dtype: float32"
        )
    return found


def _groups(keys: Sequence[Hashable]) -> dict[Any, list[int]]:
    """Places of equal keys, in order of first appearance."""
    groups: defaultdict[Any, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        groups[key].append(i)
    return groups
