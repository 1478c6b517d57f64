"""The names of the ways to score candidates, and the letters that stand for them in records. Imports no torch.

| name | letter | what is computed of each candidate |
|---|---|---|
| ``full`` | A | its whole row |
| ``copied_prefix`` | B | what follows the prompt's beginning, whose keys and values are copied for it |
| ``packed`` | C | the same with one copy for all candidates, packed into one row without padding |
| ``packed_reuse`` | D | only what follows its first difference from the current string, packed |
"""

from __future__ import annotations

from typing import Literal

StrategyName = Literal["full", "copied_prefix", "packed", "packed_reuse"]
StrategyChoice = Literal["auto", "full", "copied_prefix", "packed", "packed_reuse"]
"""A strategy, or the first one that a self-check finds right: ``packed_reuse``, ``copied_prefix``, ``full``."""

LETTERS: dict[StrategyName, str] = {"full": "A", "copied_prefix": "B", "packed": "C", "packed_reuse": "D"}


def strategy_named(text: str) -> StrategyName | None:
    """The strategy of this name or letter; None where there is none."""
    return next((name for name, letter in LETTERS.items() if text in (name, letter)), None)
