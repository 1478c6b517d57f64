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

ARGUMENT = "harness_draw"  # of a request: its seed and temperature; the request itself is greedy


class SeededSampling(LogitsProcessor):  # type: ignore[misc]
    """Leaves of a row's logits the drawn token; rows without `ARGUMENT` stay as they are."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._drawn: dict[int, tuple[int, float, list[int]]] = {}  # by row: seed, temperature, what was said so far

    def is_argmax_invariant(self) -> bool:
        """No: it decides what is greedily taken."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """See `LogitsProcessor`."""
        process_dict_updates(self._drawn, batch_update, _wanted)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """See `LogitsProcessor`."""
        for row, (seed, temperature, said) in self._drawn.items():
            own = logits[row].double()
            sums = ((own - own.max()) / temperature).exp().cumsum(-1)
            chance = float(uniform(seed, np.zeros(1, dtype=np.int64), np.asarray([len(said)]))[0])
            at = torch.searchsorted(sums, chance * sums[-1:], right=True).clamp_(max=len(own) - 1)
            logits[row] = float("-inf")
            logits[row, at] = 0.0
        return logits


def _wanted(params: SamplingParams, _: list[int] | None, said: list[int]) -> tuple[int, float, list[int]] | None:
    asked = (params.extra_args or {}).get(ARGUMENT)
    return None if asked is None else (asked[0], asked[1], said)
