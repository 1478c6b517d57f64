"""Drawing at a temperature the tokens that the torch backend would draw. Runs in the engine's process; imports vLLM.

See `harness.engine.sampling.uniform`: the number that decides belongs to a prompt's seed and the place in the
answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from harness.engine.sampling import uniform
from harness.engine.torch.generation.nucleus import drawn_tokens

DRAW = "harness_draw"  # argument of a request, which is itself greedy


class SeededSampling(LogitsProcessor):  # type: ignore[misc]
    """Leaves of a row's logits the drawn token; rows without `DRAW` stay as they are."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        # By row: seed, temperature, top_p, new ids so far.
        self._sampled: dict[int, tuple[int, float, float, list[int]]] = {}

    def is_argmax_invariant(self) -> bool:
        """No: it decides what is greedily taken."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the requests that join, leave or change their rows; called before each step."""
        process_dict_updates(self._sampled, batch_update, _draw_of)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Draw for each sampled row of logits [rows, vocabulary]."""
        for row, (seed, temperature, top_p, new_ids) in self._sampled.items():
            chance = uniform(seed, np.zeros(1, dtype=np.int64), np.asarray([len(new_ids)]))
            numbers = torch.tensor([[temperature], [top_p], [float(chance[0])]], dtype=torch.float64).to(logits.device)
            at = drawn_tokens(logits[row][None], numbers[:1], numbers[1:2] if top_p < 1 else None, numbers[2:])
            logits[row] = float("-inf")
            logits[row, at[0]] = 0.0
        return logits


def _draw_of(
    params: SamplingParams, _: list[int] | None, new_ids: list[int]
) -> tuple[int, float, float, list[int]] | None:
    given = (params.extra_args or {}).get(DRAW)
    return None if given is None else (given[0], given[1], given[2], new_ids)
