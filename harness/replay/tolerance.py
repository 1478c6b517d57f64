"""How far what is found on another machine may be from what was recorded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CLOSE = 1e-3  # logits that are nearer than this may change places on another machine
LOSS_TOLERANCE = 0.05  # nats, and as much again for each nat of the recorded loss: half precision rounds so
OF_TEXTS = 0.5  # of what an answer in text takes: it is as long as a machine makes it


def is_undecided(logits: Sequence[float] | None) -> bool:
    """Whether the two highest logits are so close that another machine may give the other label."""
    if logits is None or len(logits) < 2:
        return False
    second, first = np.sort(np.asarray(logits))[-2:]
    return bool(first - second < CLOSE)


def losses_differ(recorded: float | None, found: float | None) -> bool:
    """Whether two losses are not the same one: None is that of a string without an answer, ``inf`` of a blocked one."""
    if recorded is None or found is None:
        return recorded is not found
    if np.isinf(recorded) or np.isinf(found):
        return recorded != found
    return not abs(recorded - found) <= LOSS_TOLERANCE * (1 + abs(recorded))
