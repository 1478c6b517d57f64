"""Scores by a full forward of every row, strategy ``full``: right for any model, and the measure of the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.api.model.backend import ScoreItem, Target
from harness.engine.torch.arrays import to_numpy, without_nan
from harness.engine.torch.devices import input_device
from harness.engine.torch.flop_counter import FlopCount, measure_flops
from harness.engine.torch.heads import Head
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.scoring.head_reader import ItemOutputs
from harness.engine.torch.token_rows import group_by_key, target_length
from harness.tokens.tokenizer import Floats, Tokens


class FullScorer:
    """Full forwards of one model; rows of equal length share them, whichever item they belong to."""

    def __init__(self, model: Any, head: Head, chunker: Chunker, ordinary_ids: Tokens) -> None:
        """Wrap ``model``; nothing is run.

        Args:
            chunker: tokens per forward.
            ordinary_ids: to find the cost of a forward with.
        """
        self._model, self._head, self._chunker, self._ordinary_ids = model, head, chunker, ordinary_ids
        self._device = input_device(model)

    @cached_property
    def flop_count(self) -> FlopCount:
        """Coefficients of the executed FLOPs of a row, found once by two tiny forwards."""
        ids = torch.as_tensor(np.resize(self._ordinary_ids, 8)).to(self._device)
        return measure_flops(self._model, lambda rows: self._model(input_ids=rows), ids)

    def row_flops(self, length: int, target: Target = 0) -> float:
        """Executed FLOPs of one row of ``length`` tokens."""
        return sum(self.flop_count.forward(*run) for run in self._head.forwards(length, target))

    def outputs(self, rows: NDArray[np.int64], targets: Sequence[Target]) -> Floats:
        """Outputs of the head [n, width], see `Head.outputs`.

        Args:
            rows: of equal length [n, L], checked.
            targets: one for each row, all of one length.

        Raises:
            VictimError: NaN, no memory for one row.
        """
        ids, wanted = torch.as_tensor(rows), torch.as_tensor(targets)
        outputs = np.empty((len(rows), self._head.n_labels or (target_length(targets[0]) if targets else 1)))

        def run(part: slice) -> torch.Tensor:
            with torch.inference_mode():
                return self._head.outputs(self._model, ids[part].to(self._device), wanted[part].to(self._device))

        for part, answer in self._chunker.map(run, len(rows), rows.shape[1]):
            outputs[part] = self.without_nan(to_numpy(answer))
        return outputs

    def score(self, items: Sequence[ScoreItem], rows: Sequence[NDArray[np.int64]]) -> list[ItemOutputs]:
        """Outputs of the head for each item's rows. Raises as `outputs`.

        Args:
            rows: whole rows of each item [K, P + S + T], checked.
        """
        answers: dict[int, ItemOutputs] = {}
        shapes = [(item_rows.shape[1], target_length(item.target)) for item, item_rows in zip(items, rows, strict=True)]
        for (length, _), members in group_by_key(shapes).items():
            stacked = np.concatenate([rows[i] for i in members])
            outputs = self.outputs(stacked, [items[i].target for i in members for _ in rows[i]])
            ends = np.cumsum([len(rows[i]) for i in members])[:-1]
            for i, values in zip(members, np.split(outputs, ends), strict=True):
                answers[i] = ItemOutputs(values, len(values) * self.row_flops(length, items[i].target))
        return [answers[i] for i in range(len(items))]

    def without_nan(self, values: Floats) -> Floats:
        """Outputs of this model as they are; raises VictimError where one of them is NaN."""
        return without_nan(values, "the model answered NaN", self._model)
