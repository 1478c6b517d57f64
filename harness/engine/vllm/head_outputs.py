"""Reads a head's outputs off a vLLM engine, and says what that cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from harness.api.model.backend import Target
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.heads import ClassificationHead, LabelTokensHead
from harness.engine.vllm.engines import CallEngine, Engine
from harness.engine.vllm.flop_costs import EngineFlops
from harness.tokens.tokenizer import Floats, Tokens

_MAX_NAMED_IDS = 128  # that vLLM tells the log-probabilities of


class EngineHeadReader:
    """Reads the outputs of one checkpoint's head off the engine that has its weights."""

    def __init__(self, torch: TorchBackend, engine: Engine) -> None:
        """Take the checkpoint in torch, which knows its head and what a forward costs; nothing is started."""
        self._torch, self._engine = torch, engine

    @cached_property
    def flops(self) -> EngineFlops:
        """What the engine's work costs; known once it was started."""
        stated, computed = self._engine.facts.get("head_widths") or [1, 1]
        return EngineFlops(self._torch.executed, computed / stated)

    def read(self, call: CallEngine, rows: list[Tokens], targets: list[Target]) -> tuple[list[Floats], list[float]]:
        """What `loss_of` takes of each row, and its executed FLOPs.

        Args:
            call: of the engine, or of its process while the checkpoint is verified.
            rows: ids of each, checked.
            targets: one for each row.

        Returns:
            label logits [labels], or log-probabilities [t] of the target ids, of each row; and FLOPs of each row.
        """
        head = self._torch.head
        if isinstance(head, ClassificationHead):
            logits, cached = call("classify", rows=rows)
            return list(head.of_labels(torch.as_tensor(logits)).numpy()), self.row_flops(rows, cached, 0)
        if isinstance(head, LabelTokensHead):
            labels = head.labels
            if all(len(label) == 1 for label in labels) and len(labels) <= _MAX_NAMED_IDS:
                values, cached = call("next_token_log_probs", rows=rows, tokens=[label[0] for label in labels])
                return list(values), self.row_flops(rows, cached, 1)
            repeated = [row for row in rows for _ in labels]
            log_probs, flops = self._target_log_probs(call, repeated, labels * len(rows))
            sums = np.asarray([values.sum() for values in log_probs]).reshape(-1, len(labels))
            return list(sums), np.asarray(flops).reshape(-1, len(labels)).sum(1).tolist()
        return self._target_log_probs(call, rows, [target for target in targets if isinstance(target, tuple)])

    def row_flops(self, rows: Sequence[Tokens], cached: NDArray[np.int64], logit_positions: int) -> list[float]:
        """Executed FLOPs of rows of which so many tokens came from the cache, see `EngineFlops.row`."""
        return [
            self.flops.row(len(row), known, logit_positions) for row, known in zip(rows, cached.tolist(), strict=True)
        ]

    def _target_log_probs(
        self, call: CallEngine, rows: list[Tokens], targets: list[tuple[int, ...]]
    ) -> tuple[list[Floats], list[float]]:
        log_probs, cached = call("target_log_probs", rows=rows, targets=targets)
        flops = []
        for row, target, known in zip(rows, targets, cached.tolist(), strict=True):
            tokens = len(row) + len(target) - 1
            # Log-probabilities of a prompt are computed at every position that is computed at all.
            flops.append(self.flops.row(tokens, known, tokens - known if len(target) > 1 else 1))
        return log_probs, flops
