"""Drawing new tokens at a temperature, each row by its own seed, in Hugging Face's `generate`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor

from harness.api.model.backend import GenerateItem
from harness.engine.sampling import uniform
from harness.engine.torch.generation.nucleus import drawn_tokens


class SeededBatchSampling(LogitsProcessor):  # type: ignore[misc]
    """Leaves of each row's scores the token drawn at its temperature; rows of temperature 0 stay as they are.

    The number that decides belongs to the prompt's seed and the place in the answer: no batch has a say in it.
    transformers' own sampling draws a batch from one stream of random numbers.

    Attributes:
        nan: whether a score was NaN, a boolean tensor of shape [].
    """

    def __init__(self, items: Sequence[GenerateItem], max_new_tokens: int, device: torch.device) -> None:
        """Prepare one batch of prompts, row by row."""
        rows = [i for i, item in enumerate(items) if item.temperature > 0]
        chances = [uniform(items[i].seed, np.zeros(1, dtype=np.int64), np.arange(max_new_tokens)) for i in rows]
        temperatures = [[items[i].temperature] for i in rows]
        top_ps = [[items[i].top_p] for i in rows]
        nucleus = any(items[i].top_p < 1 for i in rows)
        self._rows = torch.as_tensor(rows, dtype=torch.int64).to(device)
        self._chances = torch.as_tensor(np.asarray(chances)).to(device)
        self._temperatures = torch.as_tensor(temperatures, dtype=torch.float64).to(device)
        self._top_ps = torch.as_tensor(top_ps, dtype=torch.float64).to(device) if nucleus else None
        self._step = 0
        self.nan = torch.zeros((), dtype=torch.bool, device=device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Called once per new token with scores [rows, vocabulary]."""
        self.nan |= scores.isnan().any()
        if len(self._rows):
            sampled = scores[self._rows]
            at = drawn_tokens(sampled, self._temperatures, self._top_ps, self._chances[:, self._step, None])
            only_drawn = torch.full_like(sampled, -torch.inf)
            only_drawn.scatter_(1, at, 0.0)
            scores = scores.index_copy(0, self._rows, only_drawn)
        self._step += 1
        return scores
