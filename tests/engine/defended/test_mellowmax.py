"""Requests that say how the losses of a target's tokens are put together, at the defended victim and before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.api.model.mellowmax import Mellowmax
from harness.api.requests import Gradient, Score
from harness.api.runtime_defense import TransformDefense
from harness.engine.defended.layer import Layer
from harness.engine.defended.victim import DefendedVictim
from harness.engine.meter import StepMeter
from harness.engine.search.router import ModelRouter
from harness.engine.top_substitutions import full_gradient
from harness.errors import AccessError, PluginError
from harness.flops import Flops
from harness.testing.toys.language_model import ToyLanguageModel
from tests.engine.defended.test_relaxed import TOKENIZER, problem, victim

TARGET = " over the fence"
OVER = Mellowmax(2.0)


class Same(TransformDefense):
    """Rewrites nothing; but texts take the way through the pipeline."""

    name = "same"

    def apply(self, texts: Any) -> list[str]:
        return list(texts)

    def cost(self, text: str) -> Flops:
        return Flops()


class MeansAlone(ToyLanguageModel):
    abilities = ToyLanguageModel.abilities - {"mellowmax"}


def losses(defended: DefendedVictim, over: Mellowmax | None) -> Any:
    of = problem(target=TARGET)
    rows = of.random_tokens(np.random.default_rng(0), 4)
    return defended.score([(of, Score(rows, over=over), StepMeter())])[0]


def test_behind_defenses_as_without() -> None:
    plain = DefendedVictim(ToyLanguageModel(TOKENIZER))
    behind = DefendedVictim(ToyLanguageModel(TOKENIZER), [Layer(Same(Same.Params()))])
    assert any(layer.rewrites for layer in behind.layers)
    np.testing.assert_allclose(losses(behind, OVER), losses(plain, OVER))
    np.testing.assert_allclose(losses(behind, None), losses(plain, None))
    assert (losses(plain, OVER) > losses(plain, None)).all()


def test_the_gradient_is_that_of_the_loss() -> None:
    of, defended = problem(target=TARGET), DefendedVictim(ToyLanguageModel(TOKENIZER))
    tokens = of.random_tokens(np.random.default_rng(1))
    (answer,) = defended.gradient([(of, Gradient(tokens, len(of.allowed), over=OVER), StepMeter())])
    (plain,) = defended.gradient([(of, Gradient(tokens, len(of.allowed)), StepMeter())])
    (loss,) = defended.score([(of, Score(tokens[None], over=OVER), StepMeter())])[0]
    assert answer.loss == pytest.approx(loss)
    assert np.abs(full_gradient(answer, of.allowed) - full_gradient(plain, of.allowed)).max() > 1e-3


def test_a_model_that_gives_means_alone_says_so() -> None:
    of = problem(target=TARGET)
    router = ModelRouter(DefendedVictim(MeansAlone(TOKENIZER)))
    rows = of.random_tokens(np.random.default_rng(0), 2)
    assert router.checked(Score(rows), of, "here").model == ""
    with pytest.raises(AccessError, match="does not answer mellowmax requests"):
        router.checked(Score(rows, over=OVER), of, "here")
    with pytest.raises(PluginError, match=r"Score\.over is a Mellowmax or None"):
        router.checked(Score(rows, over=2.0), of, "here")  # type: ignore[arg-type]


def test_labels_are_asked_for_as_ever() -> None:
    of, router = problem(), ModelRouter(victim())
    rows = of.random_tokens(np.random.default_rng(0), 2)
    request = router.checked(Score(rows, over=OVER), of, "here")
    assert isinstance(request, Score)
    (found,) = router.victim.score([(of, request, StepMeter())])
    (plain,) = router.victim.score([(of, Score(rows), StepMeter())])
    np.testing.assert_array_equal(found, plain)
