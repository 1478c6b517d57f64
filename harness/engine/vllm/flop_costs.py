"""Executed FLOPs of what a vLLM engine computed, by the torch model's own coefficients."""

from __future__ import annotations

from dataclasses import dataclass

from harness.engine.torch.flop_counter import FlopCount


@dataclass(frozen=True, slots=True)
class EngineFlops:
    """The formula of `harness.engine.torch.flop_counter`, over the tokens that were not in the prefix cache.

    vLLM reports for each row how many tokens it took from the cache; the others run through every layer and attend to
    all tokens before them and (as in that formula) to those after. What is in the cache depends on what was asked
    before, so two runs that differ in their history (one was stopped, an engine was restarted) may differ here, and
    here alone.

    Attributes:
        executed: of the same model in torch.
        wider: width of attention heads as computed over their width as stated (see padding.py).
    """

    executed: FlopCount
    wider: float = 1.0

    def row(self, tokens: int, cached: int, outputs: int) -> float:
        """A row of ``tokens``, ``cached`` of them from the cache, ``outputs`` positions to the output embedding."""
        own, new = self.executed, tokens - cached
        linear = own.per_token * new + own.per_row + own.per_output * outputs
        return linear + own.per_pair * self.wider * new * tokens

    def answer(self, prompt: int, cached: int, new: int) -> float:
        """An answer of ``new`` tokens: each but the last is computed once and attends to all before it."""
        own, later = self.executed, range(prompt + 1, prompt + new)
        attended = own.per_pair * self.wider * sum(later)
        return self.row(prompt, cached, 1) + (own.per_token + own.per_output) * len(later) + attended
