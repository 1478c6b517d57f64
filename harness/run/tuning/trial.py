"""One candidate tried: what came of it and what it took, as the journal keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["complete", "given up", "refused"]
_TIE = 1e-6  # weight of the loss besides ASR: below the smallest step of a share of any number of examples tried here


@dataclass(frozen=True)
class Score:
    """How strong an attack is: what candidates are compared by.

    Attributes:
        asr: share of the examples broken at any step, mean over cells.
        loss: lowest loss that an example's strings came to, mean over examples and cells; None where none is known.
    """

    asr: float
    loss: float | None

    @property
    def value(self) -> float:
        """ASR, with ties broken by the loss."""
        return self.asr + (0.0 if self.loss is None else _TIE * (0.5 - math.atan(self.loss) / math.pi))


@dataclass(frozen=True)
class CellOutcome:
    """What an attack came to on some examples of one cell.

    Attributes:
        broken, told: how many examples it broke, and how many have a verdict at all.
        losses: the lowest of each example's, where known.
        flops: nominal, of attack, defense and judging.
        attack_flops: of these, what counts for the budget per example.
        examples: how many were attacked.
    """

    broken: int
    told: int
    losses: tuple[float, ...]
    flops: float
    attack_flops: float
    examples: int

    def __add__(self, other: CellOutcome) -> CellOutcome:
        return CellOutcome(
            self.broken + other.broken,
            self.told + other.told,
            self.losses + other.losses,
            self.flops + other.flops,
            self.attack_flops + other.attack_flops,
            self.examples + other.examples,
        )


def score(cells: Sequence[CellOutcome]) -> Score | None:
    """The mean over cells; None where none has a verdict."""
    told = [cell for cell in cells if cell.told]
    if not told:
        return None
    losses = [sum(cell.losses) / len(cell.losses) for cell in cells if cell.losses]
    asr = sum(cell.broken / cell.told for cell in told) / len(told)
    return Score(asr, sum(losses) / len(losses) if losses else None)


@dataclass(frozen=True)
class Trial:
    """One candidate.

    Attributes:
        number: from 0.
        values: of each dimension.
        state: tried on all examples; given up after half of them; or not tried at all.
        steps: that the budget per example allows; 0 where it was not tried.
        half, whole: its score on the first half of the examples, and on all; None where it was not tried on them, or
            none has a verdict.
        flops: nominal, that trying it took.
        per_example: nominal FLOPs of the attack per attacked example, mean.
        why: it was not tried; the number of an equal trial before, whose score it has, is `same_as`.
    """

    number: int
    values: Mapping[str, Any]
    state: State
    steps: int = 0
    half: Score | None = None
    whole: Score | None = None
    flops: float = 0.0
    per_example: float | None = None
    why: str = ""
    same_as: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trial:
        """Inverse of `to_json`. Raises TypeError where it is none."""
        scores = {name: None if data[name] is None else Score(**data[name]) for name in ("half", "whole")}
        return cls(**{**data, **scores})


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The strongest of those tried on all examples; of equal ones the first."""
    scored = [(trial.whole.value, -trial.number, trial) for trial in trials if trial.whole is not None]
    return max(scored)[2] if scored else None
