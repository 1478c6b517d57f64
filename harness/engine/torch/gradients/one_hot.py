"""One-hot gradients of many examples: packed behind remembered prefixes where a check found that right, else plain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from harness.api.model.backend import GradientItem, PerturbItem, Target
from harness.engine.torch.devices import input_device
from harness.engine.torch.flop_counter import FlopCount
from harness.engine.torch.gradients.embeddings import embedding_gradient
from harness.engine.torch.gradients.packed import PackedGradient, differentiate
from harness.engine.torch.heads import Head
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.scoring.packed.packed_pass import FAILURES, UnfitError, words_of
from harness.engine.torch.scoring.scorer_check import random_items, tolerance_of, worded
from harness.engine.torch.scoring.strategy import Strategies
from harness.engine.torch.self_check.backend_check import relative_difference, switch_attention
from harness.tokens.tokenizer import Tokens


class Gradients:
    """Of one model. The choice is made by a check on a few random rows against eager plain gradients.

    Attributes:
        difference: found by the check, relative to the largest entry; None where it was not run.
        reason: why gradients are plain, or "".
    """

    def __init__(
        self,
        model: Any,
        head: Head,
        paths: Strategies,
        chunker: Chunker,
        executed: FlopCount,
        usable: Tokens,
        context: int,
    ) -> None:
        """Choose.

        Args:
            chunker: tokens per forward and backward.
            executed: coefficients of a plain pass.
            usable: ordinary ids.
            context: longest row.

        Raises:
            VictimError: no memory for one row.
        """
        self._model, self._head, self._paths, self._chunker, self._executed = model, head, paths, chunker, executed
        self._device = input_device(model)
        self.difference: float | None = None
        self.reason = "rows are not packed" if paths.packing is None else ""
        if paths.packing is not None:
            with paths.packing.switched():  # forgets what was computed with other weights
                pass
            with paths.packing.cache.set_aside():
                self.reason = self._check(usable, context)

    def of(self, items: Sequence[GradientItem]) -> list[PackedGradient]:
        """Answers in order; items valid and within the context.

        Raises:
            VictimError: no memory for one row.
        """
        found: dict[int, PackedGradient] = {}
        fit = [i for i, item in enumerate(items) if not self.reason and self._fits(item)]
        if fit and self._paths.packing is not None:
            try:
                slopes = differentiate(self._paths.packing, [items[i] for i in fit], self._chunker)
                found = dict(zip(fit, slopes, strict=True))
            except UnfitError as error:
                self.reason = str(error)
        rest = [i for i in range(len(items)) if i not in found]
        found |= zip(rest, self._plain([items[i] for i in rest]), strict=True)
        return [found[i] for i in range(len(items))]

    def to_json(self) -> dict[str, object]:
        """Plain data for the manifest."""
        return {"packed": not self.reason, "reason": self.reason, "difference": self.difference}

    def _fits(self, item: GradientItem) -> bool:
        window = self._paths.window
        return len(item.tokens) > 0 and (window is None or row_length(item) <= window)

    def _plain(self, items: Sequence[GradientItem]) -> list[PackedGradient]:
        """By plain forwards and backwards of whole rows; items of equal shape share them."""
        found: dict[int, PackedGradient] = {}
        shapes: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for i, item in enumerate(items):
            shapes[len(item.before), len(item.tokens), len(item.after), target_width(item.target)].append(i)
        for (start, width, *_), group in shapes.items():
            rows = torch.as_tensor(np.stack([whole_row(items[i]) for i in group]))
            targets = torch.as_tensor([items[i].target for i in group])

            def run(
                part: slice, ids: torch.Tensor = rows, wanted: torch.Tensor = targets, at: int = start, n: int = width
            ) -> tuple[torch.Tensor, torch.Tensor]:
                inputs = ids[part].to(self._device)
                return embedding_gradient(self._model, self._head, inputs, wanted[part].to(self._device), at, at + n)

            for part, (readings, grads) in self._chunker.map(run, *rows.shape):
                for i, own, grad in zip(group[part], readings, grads, strict=True):
                    runs = self._head.forwards(rows.shape[1], items[i].target)
                    found[i] = PackedGradient(own, grad, sum(self._executed.gradient(*run) for run in runs))
        return [found[i] for i in range(len(items))]

    def _check(self, usable: Tokens, context: int) -> str:
        """Compare packed gradients with plain ones; why they are not to be used, or ""."""
        packing = self._paths.packing
        assert packing is not None
        longest = context if self._paths.window is None else min(context, self._paths.window)
        items = [
            GradientItem(i.before, i.candidates[0], i.after, i.target, usable[:1], 1)
            for i in random_items(usable, longest, labels=packing.reader.labels)
        ]
        try:
            ours = differentiate(packing, items, self._chunker)
        except (UnfitError, *FAILURES) as error:
            return words_of(error)
        asked = str(self._model.config._attn_implementation)
        switch_attention(self._model, "eager")  # where there is no eager attention, what is there must do
        try:
            wanted = self._plain(items)
        finally:
            switch_attention(self._model, asked)
        self.difference = max(_difference(a, b) for a, b in zip(ours, wanted, strict=True))
        return worded(self.difference, tolerance_of(self._model))


def _difference(ours: PackedGradient, wanted: PackedGradient) -> float:
    readings = relative_difference(_array(ours.readings), _array(wanted.readings))
    reference = _array(wanted.gradient)
    scale = float(np.abs(reference).max()) or 1.0  # gradients may be small throughout
    return max(readings, relative_difference(_array(ours.gradient) / scale, reference / scale))


def _array(x: torch.Tensor) -> Any:
    return x.to("cpu", torch.float64).numpy()


def whole_row(item: GradientItem | PerturbItem) -> Tokens:
    """``before + tokens + after``, shape [P + S + T]."""
    return np.concatenate([item.before, item.tokens, item.after])


def target_width(target: Target) -> int:
    """How many tokens a target has; 1 for a label."""
    return 1 if isinstance(target, int) else len(target)


def row_length(item: GradientItem) -> int:
    """Tokens of the longest row that is run for an item, label tokens left out."""
    return len(item.before) + len(item.tokens) + len(item.after) + target_width(item.target) - 1
