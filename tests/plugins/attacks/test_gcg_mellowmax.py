"""``loss: mellowmax`` reaches each request of a step, and changes the key where it is asked for."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from harness.api.model.mellowmax import Mellowmax
from harness.api.requests import Gradient, Score
from plugins.attacks.gcg import GCG
from plugins.attacks.probe_gcg import ProbeGCG
from tests.plugins.attacks.test_gcg import answer_for, pretend_problem


def requests_of(attack: GCG) -> list[Any]:
    problem = pretend_problem()
    step = attack.step(attack.start(problem, np.random.default_rng(0)), problem, np.random.default_rng(0))
    asked: list[Any] = []
    answer: Any = None
    with contextlib.suppress(StopIteration):
        while True:
            asked.append(step.send(answer))
            if isinstance(asked[-1], Gradient):
                answer = answer_for(problem, np.random.default_rng(1), asked[-1].top)
            else:
                answer = np.arange(len(asked[-1].candidates), 0.0, -1)
    return asked


@pytest.mark.parametrize("attack", [GCG, ProbeGCG])
@pytest.mark.parametrize(("loss", "over"), [("mean", None), ("mellowmax", Mellowmax(0.5))])
def test_every_loss_is_asked_for_as_the_spec_says(attack: type[GCG], loss: Any, over: Mellowmax | None) -> None:
    asked = requests_of(attack(attack.Params(loss=loss, alpha=0.5, starts=3, merged=3, candidates=8)))
    assert {type(request) for request in asked} == {Gradient, Score}
    assert len(asked) > 3
    assert all(request.over == over for request in asked)


def test_a_mean_changes_no_key_and_a_mellowmax_does() -> None:
    def identity(**params: Any) -> dict[str, Any]:
        return GCG.Params(**params).identity()

    assert identity() == identity(loss="mean", alpha=3.0)
    assert not {"loss", "alpha"} & identity().keys()
    assert identity(loss="mellowmax") == identity() | {"loss": "mellowmax", "alpha": 1.0}
    assert identity(loss="mellowmax", alpha=2.0)["alpha"] == 2.0


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf")])
def test_no_other_alpha(alpha: float) -> None:
    with pytest.raises(ValidationError, match="alpha"):
        GCG.Params(loss="mellowmax", alpha=alpha)
