"""Whether an engine answers what torch answers: a few random rows, each time it takes weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from harness.api.model.backend import ScoreItem, Target
from harness.engine.losses import loss_of
from harness.engine.torch.backend import TorchBackend
from harness.engine.torch.devices import dtype_name
from harness.engine.torch.self_check.tolerance import allowed_difference, relative_difference
from harness.errors import VictimError
from harness.tokens.tokenizer import Floats, Tokens

_LENGTHS = (3, 9, 33, 40, 70)  # some longer than a block of the cache
_TARGET_TOKENS = 3  # of a victim that answers in text

ReadOutputs = Callable[[list[Tokens], list[Target]], list[Floats]]
"""Called with rows and their targets; outputs of the head for each, see `EngineHeadReader.read`."""


class DisagreementError(VictimError):
    """The engine and torch answer differently: an error even where torch alone could go on."""


@dataclass(frozen=True, slots=True)
class EngineSelfCheck:
    """Outcome of the comparison.

    Attributes:
        rows: random rows compared, each asked for twice: computed, and with its beginning in the cache.
        difference: largest absolute difference of label logits or of losses, divided by the largest where that is
            above 1.
        tolerance: what was allowed: in half precision by what that costs this model in torch.
    """

    rows: int
    difference: float
    tolerance: float

    def to_json(self) -> dict[str, object]:
        """Plain data for the manifest."""
        return asdict(self)


def check_engine(torch: TorchBackend, read: ReadOutputs, longest: int) -> EngineSelfCheck:
    """Compare an engine with full forwards in torch.

    Args:
        torch: the checkpoint whose weights the engine has.
        read: reads the head's outputs off the engine.
        longest: tokens of the longest row that the engine takes.

    Raises:
        DisagreementError: they differ by more than the tolerance, or the engine's answers are not finite.
    """
    rng = np.random.default_rng(1)
    special = torch.tokenizer.special
    ordinary_ids = np.asarray([i for i in range(torch.tokenizer.vocabulary) if i not in special])
    target: Target = 0 if torch.n_labels else tuple(rng.choice(ordinary_ids, size=_TARGET_TOKENS).tolist())
    most = min(longest, torch.context) - (_TARGET_TOKENS - 1 if isinstance(target, tuple) else 0)
    rows = [rng.choice(ordinary_ids, size=max(1, min(n, most))).astype(np.int64) for n in _LENGTHS]
    reference = np.asarray([_torch_answer(torch, row, target) for row in rows])
    found = [[_answer(outputs, target) for outputs in read(rows, [target] * len(rows))] for _ in range(2)]
    tolerance = allowed_difference(torch.model.dtype, torch.self_check.rounding if torch.self_check else None)
    difference = max(relative_difference(np.asarray(answers), reference) for answers in found)
    if difference > tolerance:
        raise DisagreementError(
            f"vLLM and torch disagree about this model: answers to random rows differ by {difference:.2g} (tolerance "
            f"{tolerance:g} in {dtype_name(torch.model.dtype)}); use backend: torch"
        )
    return EngineSelfCheck(len(rows), difference, tolerance)


def _answer(outputs: Floats, target: Target) -> Floats:
    """What is compared: label logits [labels], or of a victim that answers in text the loss [1]."""
    return outputs if isinstance(target, int) else loss_of(outputs[None], target)


def _torch_answer(torch: TorchBackend, row: Tokens, target: Target) -> Floats:
    if isinstance(target, int):
        logits, _ = torch.classify([row])
        return np.asarray(logits[0])
    (scored,) = torch.score([ScoreItem(row[:-1], row[None, -1:], row[:0], target)])
    return scored.losses
