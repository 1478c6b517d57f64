"""Whether an engine answers what torch answers: a few random rows, each time it takes weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from harness.api.model.backend import ScoreItem, Target
from harness.engine.losses import loss_of
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.self_check.backend_check import relative_difference
from harness.engine.torch.self_check.tolerance import tolerance
from harness.errors import VictimError
from harness.tokens.tokenizer import Floats, Tokens

_LENGTHS = (3, 9, 33, 40, 70)  # some longer than a block of the cache
_TARGET = 3  # tokens, of a victim that answers in text

Read = Callable[[list[Tokens], list[Target]], list[Floats]]


class DisagreementError(VictimError):
    """The engine and torch answer differently: never passed over, whoever was to answer."""


@dataclass(frozen=True, slots=True)
class EngineSelfCheck:
    """Outcome of the comparison.

    Attributes:
        rows: random rows compared, each asked for twice: computed, and with its beginning in the cache.
        difference: largest absolute difference of what is read, divided by the largest reading where that is above 1.
        tolerance: what was allowed: in half precision by what that costs this model in torch.
    """

    rows: int
    difference: float
    tolerance: float

    def to_json(self) -> dict[str, object]:
        """Plain data for the manifest."""
        return asdict(self)


def compare(torch: TorchBackend, read: Read, longest: int) -> EngineSelfCheck:
    """Compare ``read``, what the engine says, with full forwards in torch.

    Raises:
        DisagreementError: they differ by more than the tolerance, or the engine's answers are not finite.
    """
    rng = np.random.default_rng(1)
    usable = np.asarray([i for i in range(torch.tokenizer.vocabulary) if i not in torch.tokenizer.special])
    target: Target = 0 if torch.n_labels else tuple(rng.choice(usable, size=_TARGET).tolist())
    most = min(longest, torch.context) - (_TARGET - 1 if isinstance(target, tuple) else 0)
    rows = [rng.choice(usable, size=max(1, min(n, most))).astype(np.int64) for n in _LENGTHS]
    reference = [_torch_reading(torch, row, target) for row in rows]
    found = [[_reading(own, target) for own in read(rows, [target] * len(rows))] for _ in range(2)]
    lost = torch.agreement.rounding if torch.agreement else None
    allowed = tolerance(torch.model.dtype, lost)
    difference = max(relative_difference(np.asarray(own), np.asarray(reference)) for own in found)
    if difference > allowed:
        raise DisagreementError(
            f"vLLM and torch disagree about this model: answers to random rows differ by {difference:.2g} (tolerance "
            f"{allowed:g} in {str(torch.model.dtype).removeprefix('torch.')}); use backend: torch"
        )
    return EngineSelfCheck(len(rows), difference, allowed)


def _reading(own: Floats, target: Target) -> Floats:
    """Label logits, or of a victim that answers in text the loss [1]."""
    return own if isinstance(target, int) else loss_of(own[None], target)


def _torch_reading(torch: TorchBackend, row: Tokens, target: Target) -> Floats:
    if isinstance(target, int):
        logits, _ = torch.classify([row])
        return np.asarray(logits[0])
    (scored,) = torch.score([ScoreItem(row[:-1], row[None, -1:], row[:0], target)])
    return scored.losses
