"""What defenses read off a torch model: likelihoods of whole texts, activations of a layer, and gradients of both.

Rows run in full and unpadded, those of equal length together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.api.model.backend import ActivationItem, Activity, LikelihoodItem, Likelihoods
from harness.engine.torch.activations.hidden_layers import no_such_layer, sites
from harness.engine.torch.devices import input_device
from harness.engine.torch.flop_counter import FlopCount
from harness.engine.torch.gradients.embeddings import EmbeddingTable, embeddings_as_leaves
from harness.engine.torch.heads import no_cache
from harness.engine.torch.memory.chunks import Chunker, Kind
from harness.errors import VictimError
from harness.tokens.tokenizer import Floats, Tokens


class Readouts:
    """Of one model."""

    def __init__(
        self, model: Any, chunkers: Mapping[Kind, Chunker], executed: FlopCount, table: EmbeddingTable
    ) -> None:
        """Wrap ``model``; nothing is run."""
        self._model, self._chunkers, self._executed, self._table = model, chunkers, executed, table
        self._device = input_device(model)

    def likelihood(self, items: Sequence[LikelihoodItem]) -> list[Likelihoods]:
        """NLL per token, and gradients where weights are given; in order, rows valid and within the context.

        Raises:
            VictimError: NaN, no memory for one row.
        """
        found: dict[int, Likelihoods] = {}
        for (length, span), group in _groups([(len(i.row), None if i.weights is None else i.span) for i in items]):
            rows = np.stack([items[i].row for i in group])
            if length < 2:
                for i in group:
                    found[i] = Likelihoods(np.empty(0), 0.0)
                continue
            if span is None:
                for part, nll in self._chunkers["score"].map(partial(self._nll, rows), *rows.shape):
                    for i, own in zip(group[part], nll, strict=True):
                        found[i] = Likelihoods(own, self._executed.forward(length, length))
                continue
            run = partial(self._nll_gradient, rows, [items[i] for i in group])
            for part, (nll, gradients) in self._chunkers["gradient"].map(run, *rows.shape):
                for i, own, gradient in zip(group[part], nll, gradients, strict=True):
                    found[i] = Likelihoods(own, self._executed.gradient(length, length), gradient)
        return [found[i] for i in range(len(items))]

    def activations(self, items: Sequence[ActivationItem]) -> list[Activity]:
        """Activations, and gradients where a direction is given; in order. Raises as `likelihood`, and VictimError
        where there is no such layer.
        """
        found: dict[int, Activity] = {}
        keys = [(len(i.row), i.layer, i.pool, None if i.direction is None else i.span) for i in items]
        for (length, layer, pool, span), group in _groups(keys):
            rows, slope = np.stack([items[i].row for i in group]), span is not None
            chunker = self._chunkers["gradient" if slope else "score"]
            spent = self._executed.gradient(length) if slope else self._executed.forward(length)
            run = partial(self._activity, rows, [items[i] for i in group], layer, pool)
            for part, (values, gradients) in chunker.map(run, *rows.shape):
                for i, own, gradient in zip(group[part], values, gradients, strict=True):
                    found[i] = Activity(own, spent, gradient)
        return [found[i] for i in range(len(items))]

    def _nll(self, whole: Tokens, part: slice) -> Floats:
        rows = whole[part]
        with torch.inference_mode():
            return _numbers(_token_nll(self._logits(self._ids(rows)), self._ids(rows)))

    def _nll_gradient(self, whole: Tokens, group: Sequence[LikelihoodItem], part: slice) -> tuple[Floats, list[Floats]]:
        rows, items = whole[part], group[part]
        ids, (start, stop) = self._ids(rows), items[0].span
        weights = torch.as_tensor(np.stack([np.asarray(item.weights) for item in items]), dtype=torch.float32)
        weights = weights.to(self._device)
        with torch.enable_grad(), embeddings_as_leaves(self._model) as leaves:
            log_probs = self._logits(ids)[:, :-1].float().log_softmax(-1)
            nll = -log_probs.gather(-1, ids[:, 1:, None])[..., 0]
            (slope,) = torch.autograd.grad((weights * nll).sum(), leaves)
        gradients = []
        for row, item in enumerate(items):
            assert item.allowed is not None
            as_read = slope[row, start:stop] @ self._table.of(item.allowed).T
            # A token is also what the model predicts there: its own NLL changes with it, the first one's aside.
            first = max(start, 1)
            allowed = torch.as_tensor(item.allowed).to(log_probs.device)
            said = log_probs[row, first - 1 : stop - 1].detach().index_select(1, allowed)
            as_read[first - start :] -= weights[row, first - 1 : stop - 1, None] * said
            gradients.append(_numbers(as_read))
        return _numbers(nll), gradients

    def _activity(
        self, whole: Tokens, group: Sequence[ActivationItem], layer: int, pool: str, part: slice
    ) -> tuple[Floats, list[Floats | None]]:
        rows, items = whole[part], group[part]
        ids = self._ids(rows)
        if items[0].direction is None:
            with torch.inference_mode(), self._listening(layer) as heard:
                self._model.base_model(input_ids=ids, **no_cache(self._model))
            return _numbers(_pooled(heard[0], pool)), [None] * len(items)
        start, stop = items[0].span
        directions = torch.as_tensor(np.stack([np.asarray(item.direction) for item in items]), dtype=torch.float32)
        with torch.enable_grad(), embeddings_as_leaves(self._model) as leaves, self._listening(layer) as heard:
            self._model.base_model(input_ids=ids, **no_cache(self._model))
            values = _pooled(heard[0], pool)
            (slope,) = torch.autograd.grad((values * directions.to(values.device)).sum(), leaves)
        gradients: list[Floats | None] = []
        for row, item in enumerate(items):
            assert item.allowed is not None
            gradients.append(_numbers(slope[row, start:stop] @ self._table.of(item.allowed).T))
        return _numbers(values), gradients

    @contextmanager
    def _listening(self, layer: int) -> Iterator[list[Tensor]]:
        """Within, what the layer returns is listed."""
        known = sites(self._model)
        at = layer if layer >= 0 else len(known) + layer
        if not 0 <= at < len(known):
            raise no_such_layer(self._model, layer, len(known))
        heard: list[Tensor] = []

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            heard.append(output[0] if isinstance(output, tuple) else output)

        handle = known[at].register_forward_hook(hook)
        try:
            yield heard
        finally:
            handle.remove()

    def _logits(self, ids: Tensor) -> Tensor:
        logits: Tensor = self._model(input_ids=ids, **no_cache(self._model)).logits
        return logits

    def _ids(self, rows: Tokens) -> Tensor:
        return torch.as_tensor(rows).to(self._device)


def _pooled(activations: Tensor, pool: str) -> Tensor:
    whole = activations.float()
    return whole[:, -1] if pool == "last" else whole.mean(1)


def _token_nll(logits: Tensor, ids: Tensor) -> Tensor:
    """NLL [n, L - 1] of each token but the first."""
    flat = logits[:, :-1].float().flatten(0, 1)
    losses = torch.nn.functional.cross_entropy(flat, ids[:, 1:].to(flat.device).flatten(), reduction="none")
    return losses.view(len(ids), -1)


def _groups(keys: Sequence[Hashable]) -> list[tuple[Any, list[int]]]:
    groups: defaultdict[Any, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        groups[key].append(i)
    return list(groups.items())


def _numbers(x: Tensor) -> Floats:
    found: Floats = x.detach().to("cpu", torch.float64).numpy()
    if np.isnan(found).any():
        raise VictimError("the model answered NaN to a defense; load it with dtype: float32")
    return found
