"""GCG breaks no fewer examples than a plain GCG, written down from the paper, in as many steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.engine.defended.victim import DefendedVictim
from plugins.attacks.gcg import GCG
from plugins.judges.labels import WrongLabel
from tests.engine.toy import searching

STEPS, CANDIDATES, TOPK, EXAMPLES, OURS, PLAIN = 8, 24, 64, 40, 3, 1


def so_far(success: Any) -> np.ndarray:
    """Broken at this step or before, shape [examples, steps]."""
    return np.logical_or.accumulate(np.asarray(success).reshape(EXAMPLES, STEPS), axis=1)


@pytest.mark.slow
def test_success_is_not_below_a_plain_reference(trained: Callable[..., Any]) -> None:
    """Over several seeds of either; three standard errors are allowed for luck."""
    from tests.plugins.attacks.reference import Reference, plain_gcg

    victim = trained("word_length", "26k")
    backend = victim.open()
    problems = victim.problems(backend, EXAMPLES)
    attack = GCG(GCG.Params(steps=STEPS, candidates=CANDIDATES, topk=TOPK))

    def ours(seed: int) -> np.ndarray:
        search = searching(DefendedVictim(backend), attack, (seed, "asr"), "gradient", WrongLabel())
        return so_far([row.success for row in search.run(problems).rows])

    reference = Reference(victim.folder)

    def plain(seed: int) -> np.ndarray:
        rngs = [np.random.default_rng([seed, at]) for at in range(EXAMPLES)]
        runs = zip(problems, rngs, strict=True)
        return so_far([plain_gcg(reference, problem, STEPS, CANDIDATES, TOPK, rng) for problem, rng in runs])

    found, wanted = np.mean([ours(s) for s in range(OURS)], axis=0), np.mean([plain(s) for s in range(PLAIN)], axis=0)
    print("gcg", found.mean(axis=0).round(2), "plain", wanted.mean(axis=0).round(2))
    assert wanted[:, -1].mean() > 0.3  # there is something to fall behind
    difference = (found - wanted)[:, -1]
    assert difference.mean() >= -3 * difference.std(ddof=1) / EXAMPLES**0.5
