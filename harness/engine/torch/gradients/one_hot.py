"""One-hot gradients of many examples: on packed rows where a check found that right, else by plain backwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.api.model.backend import GradientItem
from harness.engine.torch.arrays import to_numpy
from harness.engine.torch.attention_switch import EAGER, attention_switched
from harness.engine.torch.devices import input_device
from harness.engine.torch.flop_counter import FlopCount
from harness.engine.torch.gradients.embeddings import embedding_gradient
from harness.engine.torch.gradients.packed import EmbeddingGradient, packed_gradients
from harness.engine.torch.heads import Head
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.scoring.candidate_scorer import CandidateScorer
from harness.engine.torch.scoring.packed.scorer import PackedScorer
from harness.engine.torch.scoring.scorer_check import random_items
from harness.engine.torch.scoring.unsupported import MODEL_ERRORS, UnsupportedModelError, reason_of
from harness.engine.torch.self_check.tolerance import FIXED_TOLERANCES, deviation_message, relative_difference
from harness.engine.torch.token_rows import group_by_key, target_length, whole_row
from harness.tokens.tokenizer import Tokens


class OneHotGradients:
    """Gradients of one model's loss by attack strings, packed where a few random rows agree with eager plain gradients.

    Attributes:
        difference: found by the check, relative to the largest entry; None where it was not run.
        reason: why gradients are plain, or "".
    """

    def __init__(
        self,
        model: Any,
        head: Head,
        scorer: CandidateScorer,
        chunker: Chunker,
        flop_count: FlopCount,
        ordinary_ids: Tokens,
        context: int,
    ) -> None:
        """Check packed gradients, where the model's candidates are packed.

        Args:
            scorer: of the same model; shares what it remembers.
            chunker: tokens per forward and backward.
            flop_count: coefficients of a plain pass.
            ordinary_ids: to draw the rows of the check from.
            context: longest row in tokens.

        Raises:
            VictimError: no memory for one row.
        """
        self._model, self._head, self._scorer, self._chunker = model, head, scorer, chunker
        self._flop_count, self._device = flop_count, input_device(model)
        self.difference: float | None = None
        self.reason = "rows are not packed" if scorer.packed is None else ""
        if scorer.packed is not None:
            scorer.packed.cache.clear_if_changed(model)
            with scorer.packed.cache.set_aside():
                self.reason = self._check(scorer.packed, ordinary_ids, context)

    def compute(self, items: Sequence[GradientItem]) -> list[EmbeddingGradient]:
        """Outputs of the head and gradients, in order; items valid and within the context.

        Raises:
            VictimError: no memory for one row.
        """
        answers: dict[int, EmbeddingGradient] = {}
        packed = self._scorer.packed
        if packed is not None and not self.reason:
            fitting = [i for i, item in enumerate(items) if self._fits(packed, item)]
            try:
                gradients = packed_gradients(packed, [items[i] for i in fitting], self._chunker) if fitting else []
                answers = dict(zip(fitting, gradients, strict=True))
            except UnsupportedModelError as error:
                self.reason = str(error)
        rest = [i for i in range(len(items)) if i not in answers]
        answers |= zip(rest, self._plain([items[i] for i in rest]), strict=True)
        return [answers[i] for i in range(len(items))]

    def to_json(self) -> dict[str, object]:
        """Plain data for the manifest."""
        return {"packed": not self.reason, "reason": self.reason, "difference": self.difference}

    @staticmethod
    def _fits(packed: PackedScorer, item: GradientItem) -> bool:
        return len(item.tokens) > 0 and packed.fits(item.target, len(item.before) + len(item.tokens) + len(item.after))

    def _plain(self, items: Sequence[GradientItem]) -> list[EmbeddingGradient]:
        """By plain forwards and backwards of whole rows; items of equal shape share them."""
        answers: dict[int, EmbeddingGradient] = {}
        shapes = [(len(i.before), len(i.tokens), len(i.after), target_length(i.target)) for i in items]
        for shape, members in group_by_key(shapes).items():
            length = sum(shape[:3])
            for i, (outputs, gradient) in self._chunker.map_members(partial(self._backward, items), members, length):
                runs = self._head.forwards(length, items[i].target)
                answers[i] = EmbeddingGradient(outputs, gradient, sum(self._flop_count.gradient(*run) for run in runs))
        return [answers[i] for i in range(len(items))]

    def _backward(self, items: Sequence[GradientItem], members: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """For each member, all of one shape, outputs of the head and the gradient as in `EmbeddingGradient`."""
        rows = torch.as_tensor(np.stack([whole_row(items[i]) for i in members])).to(self._device)
        targets = torch.as_tensor([items[i].target for i in members]).to(self._device)
        start, tokens = len(items[members[0]].before), len(items[members[0]].tokens)
        overs = [items[i].over for i in members]
        answers = embedding_gradient(self._model, self._head, rows, targets, start, start + tokens, overs)
        return zip(*answers, strict=True)

    def _check(self, packed: PackedScorer, ordinary_ids: Tokens, context: int) -> str:
        """Compare packed gradients with plain ones; why they are not to be used, or ""."""
        longest = context if packed.longest is None else min(context, packed.longest - self._head.extra)
        items = [
            GradientItem(i.before, i.candidates[0], i.after, i.target, ordinary_ids[:1], 1)
            for i in random_items(ordinary_ids, longest, labels=packed.reader.labels)
        ]
        try:
            ours = packed_gradients(packed, items, self._chunker)
        except (UnsupportedModelError, *MODEL_ERRORS) as error:
            return reason_of(error)
        with attention_switched(self._model, EAGER):
            reference = self._plain(items)
        self.difference = max(_difference(a, b) for a, b in zip(ours, reference, strict=True))
        return deviation_message("packed rows", self.difference, FIXED_TOLERANCES[self._model.dtype])


def _difference(ours: EmbeddingGradient, reference: EmbeddingGradient) -> float:
    """Largest relative difference of outputs or of gradients, these in units of their largest entry."""
    outputs = relative_difference(to_numpy(ours.outputs), to_numpy(reference.outputs))
    scale = float(np.abs(to_numpy(reference.gradient)).max()) or 1.0  # gradients may be small throughout
    return max(outputs, relative_difference(to_numpy(ours.gradient) / scale, to_numpy(reference.gradient) / scale))
