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

SEED_AND_TEMPERATURE = "harness_draw"  # argument of a request, which is itself greedy


class SeededSampling(LogitsProcessor):  # type: ignore[misc]
    """Leaves of a row's logits the drawn token; rows without `SEED_AND_TEMPERATURE` stay as they are."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._sampled: dict[int, tuple[int, float, list[int]]] = {}  # by row: seed, temperature, new ids so far

    def is_argmax_invariant(self) -> bool:
        """No: it decides what is greedily taken."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the requests that join, leave or change their rows; called before each step."""
        process_dict_updates(self._sampled, batch_update, _seed_and_temperature)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Draw for each sampled row of logits [rows, vocabulary]."""
        for row, (seed, temperature, new_ids) in self._sampled.items():
            row_logits = logits[row].double()
            sums = ((row_logits - row_logits.max()) / temperature).exp().cumsum(-1)
            chance = float(uniform(seed, np.zeros(1, dtype=np.int64), np.asarray([len(new_ids)]))[0])
            at = torch.searchsorted(sums, chance * sums[-1:], right=True).clamp_(max=len(row_logits) - 1)
            logits[row] = float("-inf")
            logits[row, at] = 0.0
        return logits


def _seed_and_temperature(
    params: SamplingParams, _: list[int] | None, new_ids: list[int]
) -> tuple[int, float, list[int]] | None:
    given = (params.extra_args or {}).get(SEED_AND_TEMPERATURE)
    return None if given is None else (given[0], given[1], new_ids)
