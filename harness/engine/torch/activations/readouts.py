"""What defenses read off a torch model: likelihoods of whole texts, activations of a layer, and gradients of both.

Rows run in full and unpadded, those of equal length together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.api.model.backend import ActivationAnswer, ActivationItem, LikelihoodAnswer, LikelihoodItem
from harness.engine.torch.activations.hidden_layers import hidden_layers, no_such_layer
from harness.engine.torch.arrays import to_numpy, without_nan
from harness.engine.torch.devices import input_device
from harness.engine.torch.flop_counter import FlopCount
from harness.engine.torch.gradients.embeddings import EmbeddingTable, embeddings_as_leaves
from harness.engine.torch.heads import no_cache
from harness.engine.torch.memory.chunks import Chunker, WorkKind
from harness.engine.torch.token_rows import group_by_key
from harness.tokens.tokenizer import Floats, Tokens


class Readouts:
    """LikelihoodAnswer and activations of one model."""

    def __init__(
        self, model: Any, chunkers: Mapping[WorkKind, Chunker], flop_count: FlopCount, table: EmbeddingTable
    ) -> None:
        """Wrap ``model``; nothing is run.

        Args:
            chunkers: tokens per forward, by kind of work.
            flop_count: coefficients of a plain pass.
            table: the model's embeddings.
        """
        self._model, self._chunkers, self._flop_count, self._table = model, chunkers, flop_count, table
        self._device = input_device(model)

    def likelihood(self, items: Sequence[LikelihoodItem]) -> list[LikelihoodAnswer]:
        """NLL per token, and gradients where weights are given; in order, rows valid and within the context.

        Raises:
            VictimError: NaN, no memory for one row.
        """
        answers: dict[int, LikelihoodAnswer] = {}
        keys = [(len(i.row), None if i.weights is None else i.span) for i in items]
        for (length, span), members in group_by_key(keys).items():
            if length < 2:
                answers |= {i: LikelihoodAnswer(np.empty(0), 0.0) for i in members}
            elif span is None:
                flops, run = self._flop_count.forward(length, length), partial(self._nll, items)
                for i, nll in self._chunkers["score"].map_members(run, members, length):
                    answers[i] = LikelihoodAnswer(nll, flops)
            else:
                flops, run_backward = self._flop_count.gradient(length, length), partial(self._nll_gradient, items)
                for i, (nll, gradient) in self._chunkers["gradient"].map_members(run_backward, members, length):
                    answers[i] = LikelihoodAnswer(nll, flops, gradient)
        return [answers[i] for i in range(len(items))]

    def activations(self, items: Sequence[ActivationItem]) -> list[ActivationAnswer]:
        """Activations, and gradients where a direction is given; in order. Raises as `likelihood`, and VictimError
        where there is no such layer.
        """
        answers: dict[int, ActivationAnswer] = {}
        keys = [(len(i.row), i.layer, i.pool, None if i.direction is None else i.span) for i in items]
        for (length, layer, pool, span), members in group_by_key(keys).items():
            chunker = self._chunkers["score" if span is None else "gradient"]
            flops = self._flop_count.forward(length) if span is None else self._flop_count.gradient(length)
            run = partial(self._activations, items, layer, pool)
            for i, (by_layer, gradient) in chunker.map_members(run, members, length):
                answers[i] = ActivationAnswer(by_layer[-1], flops, gradient, by_layer if layer is None else ())
        return [answers[i] for i in range(len(items))]

    def _nll(self, items: Sequence[LikelihoodItem], members: list[int]) -> Floats:
        """NLL [n, L - 1] of each token but the first of the members' rows."""
        ids = self._ids([items[i].row for i in members])
        with torch.inference_mode():
            return self._to_numpy(_token_nll(self._logits(ids), ids))

    def _nll_gradient(self, items: Sequence[LikelihoodItem], members: list[int]) -> list[tuple[Floats, Floats]]:
        """For each member the NLL [L - 1], and the gradient [S, A] of its weighted sum by the tokens of the span."""
        items = [items[i] for i in members]
        ids, (start, stop) = self._ids([item.row for item in items]), items[0].span
        weights = torch.as_tensor(np.stack([np.asarray(item.weights) for item in items]), dtype=torch.float32)
        weights = weights.to(self._device)
        with torch.enable_grad(), embeddings_as_leaves(self._model) as leaves:
            log_probs = self._logits(ids)[:, :-1].float().log_softmax(-1)
            nll = -log_probs.gather(-1, ids[:, 1:, None])[..., 0]
            (by_embedding,) = torch.autograd.grad((weights * nll).sum(), leaves)
        gradients = []
        for row, item in enumerate(items):
            assert item.allowed is not None
            gradient = by_embedding[row, start:stop] @ self._table.embeddings(item.allowed).T
            # A token is also what the model predicts there: its own NLL changes with it, the first one's aside.
            first = max(start, 1)
            allowed = torch.as_tensor(item.allowed).to(log_probs.device)
            predicted = log_probs[row, first - 1 : stop - 1].detach().index_select(1, allowed)
            gradient[first - start :] -= weights[row, first - 1 : stop - 1, None] * predicted
            gradients.append(self._to_numpy(gradient))
        return list(zip(self._to_numpy(nll), gradients, strict=True))

    def _activations(
        self, items: Sequence[ActivationItem], layer: int | None, pool: str, members: list[int]
    ) -> list[tuple[tuple[Floats, ...], Floats | None]]:
        """For each member the activations [H] of the layer, or of each; and the gradient [S, A] of their product with
        its direction, or None.
        """
        items = [items[i] for i in members]
        ids = self._ids([item.row for item in items])
        if items[0].direction is None:
            with torch.inference_mode(), self._recorded(layer, pool) as outputs:
                self._model.base_model(input_ids=ids, **no_cache(self._model))
            by_layer = [self._to_numpy(activations) for activations in outputs.values()]
            return [(tuple(rows), None) for rows in zip(*by_layer, strict=True)]
        start, stop = items[0].span
        directions = torch.as_tensor(np.stack([np.asarray(item.direction) for item in items]), dtype=torch.float32)
        with torch.enable_grad(), embeddings_as_leaves(self._model) as leaves, self._recorded(layer, pool) as outputs:
            self._model.base_model(input_ids=ids, **no_cache(self._model))
            (activations,) = outputs.values()
            product = (activations * directions.to(activations.device)).sum()
            (by_embedding,) = torch.autograd.grad(product, leaves)
        answers: list[tuple[tuple[Floats, ...], Floats | None]] = []
        for values, row, item in zip(self._to_numpy(activations), by_embedding, items, strict=True):
            assert item.allowed is not None
            answers.append(((values,), self._to_numpy(row[start:stop] @ self._table.embeddings(item.allowed).T)))
        return answers

    @contextmanager
    def _recorded(self, layer: int | None, pool: str) -> Iterator[dict[int, Tensor]]:
        """Of one forward within, what the layer returns, pooled, [n, H]; None: what each does, by number."""
        layers = hidden_layers(self._model)
        if layer is not None:
            at = layer if layer >= 0 else len(layers) + layer
            if not 0 <= at < len(layers):
                raise no_such_layer(self._model, layer, len(layers))
            layers = [layers[at]]
        outputs: dict[int, Tensor] = {}

        def hook(number: int, _module: nn.Module, _inputs: Any, output: Any) -> None:
            if number not in outputs:  # what runs again, such as a shared embedding, was read already
                outputs[number] = _pooled(output[0] if isinstance(output, tuple) else output, pool)

        with ExitStack() as hooks:
            for number, module in enumerate(layers):
                hooks.enter_context(module.register_forward_hook(partial(hook, number)))
            yield outputs

    def _logits(self, ids: Tensor) -> Tensor:
        logits: Tensor = self._model(input_ids=ids, **no_cache(self._model)).logits
        return logits

    def _to_numpy(self, x: Tensor) -> Floats:
        return without_nan(to_numpy(x), "the model answered NaN to a defense", self._model)

    def _ids(self, rows: Sequence[Tokens]) -> Tensor:
        return torch.as_tensor(np.stack(rows)).to(self._device)


def _pooled(activations: Tensor, pool: str) -> Tensor:
    """Activations [n, H] (float32) at the last token, or their mean, from those of all tokens [n, L, H]."""
    activations = activations.float()
    return activations[:, -1] if pool == "last" else activations.mean(1)


def _token_nll(logits: Tensor, ids: Tensor) -> Tensor:
    """NLL [n, L - 1] of each token but the first, of logits [n, L, vocabulary] and ids [n, L]."""
    flat = logits[:, :-1].float().flatten(0, 1)
    losses = torch.nn.functional.cross_entropy(flat, ids[:, 1:].to(flat.device).flatten(), reduction="none")
    return losses.view(len(ids), -1)
