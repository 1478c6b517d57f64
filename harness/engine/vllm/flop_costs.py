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
        flop_count: of the same model in torch.
        widening: width of attention heads as computed over their width as stated (see `head_padding`).
    """

    flop_count: FlopCount
    widening: float = 1.0

    def row(self, tokens: int, cached: int, logit_positions: int) -> float:
        """FLOPs of a row of ``tokens``, ``cached`` of them from the cache, of which so many positions reach the output
        embedding.
        """
        count, new = self.flop_count, tokens - cached
        linear = count.per_token * new + count.per_row + count.per_logit_position * logit_positions
        return linear + count.per_pair * self.widening * new * tokens

    def answer(self, prompt: int, cached: int, new: int) -> float:
        """FLOPs of an answer of ``new`` tokens to a prompt of ``prompt``, ``cached`` of them from the cache: each new
        one but the last is computed once and attends to all before it.
        """
        count, later = self.flop_count, range(prompt + 1, prompt + new)
        attention = count.per_pair * self.widening * sum(later)
        return self.row(prompt, cached, 1) + (count.per_token + count.per_logit_position) * len(later) + attention
