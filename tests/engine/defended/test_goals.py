"""Losses and gradients of a label of the author's choice, of all labels but the true one, and of a text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.api.attack import Attack
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.requests import Gradient, Perturb, Score
from harness.api.runtime_defense import TransformDefense
from harness.api.task import NO_LABEL, AnyBut, Chunk, Edit, Example
from harness.engine.defended.layer import Layer
from harness.engine.defended.victim import DefendedVictim
from harness.engine.losses import cross_entropy, label_loss
from harness.engine.meter import StepMeter
from harness.engine.search.budget import SearchBudget
from harness.engine.search.router import ModelRouter
from harness.engine.search.search import Search
from harness.errors import PluginError
from harness.testing.toys.backend import ToyLatent
from harness.testing.toys.examples import toy_threat
from harness.testing.toys.language_model import ToyLanguageModel
from harness.testing.toys.tokenizers import tokenizer_of
from harness.tokens.continuation import continuation_ids

LABELS = (" red", " green", " blue")
TOKENIZER = tokenizer_of("byte_bpe")
RNG = np.random.default_rng(0)


class AsItIs(TransformDefense):
    """Rewrites nothing, so that losses come by way of texts."""

    name = "as_it_is"

    def apply(self, texts: Any) -> list[str]:
        return list(texts)


def victim(*layers: Layer, labels: int = 3) -> DefendedVictim:
    return DefendedVictim(ToyLatent(TOKENIZER, 0, labels, context=8192), layers, LABELS[:labels])


def problem(proxy: int = NO_LABEL, label: int = 1) -> Problem:
    chunks = (Chunk("The colour of the fox: "), Chunk("", Edit.OVERWRITABLE))
    example = Example("v-0", chunks, label, proxy)
    return place(example, toy_threat("latent", tokens=3), TOKENIZER, allowed_tokens(TOKENIZER), LABELS)


def scores(defended: DefendedVictim, of: Problem, **options: Any) -> Any:
    return defended.score([(of, Score(STRINGS, **options), StepMeter())])[0]


def gradient(defended: DefendedVictim, of: Problem, meter: StepMeter, **options: Any) -> Any:
    return defended.gradient([(of, Gradient(STRINGS[0], len(of.allowed), **options), meter)])[0]


STRINGS = problem().random_tokens(RNG, 6)
REWRITTEN = Layer(AsItIs())


def test_the_loss_of_all_labels_but_one() -> None:
    logits = RNG.normal(size=(7, 4)) * 5
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(label_loss(logits, AnyBut(2)), -np.log(1 - chances[:, 2]))
    np.testing.assert_allclose(label_loss(logits, 2), -np.log(chances[:, 2]))
    np.testing.assert_allclose(label_loss(logits[:, :2], AnyBut(0)), cross_entropy(logits[:, :2], 1))


@pytest.mark.parametrize("layers", [(), (REWRITTEN,)])
def test_scores(layers: tuple[Layer, ...]) -> None:
    defended = victim(*layers)
    each = [scores(defended, problem(0), target=label) for label in range(3)]
    np.testing.assert_allclose(scores(defended, problem(0)), each[0])
    np.testing.assert_allclose(scores(defended, problem(2)), each[2])
    together = -np.log(np.exp(-each[0]) + np.exp(-each[2]))
    np.testing.assert_allclose(scores(defended, problem()), together)
    np.testing.assert_allclose(scores(defended, problem(), target=1), each[1])  # the true one as well


def test_with_two_labels_both_are_the_same() -> None:
    two = victim(labels=2)
    untargeted, targeted = problem(NO_LABEL, 0), problem(1, 0)
    np.testing.assert_allclose(scores(two, untargeted), scores(two, targeted))
    one, other = (gradient(two, of, StepMeter()) for of in (untargeted, targeted))
    assert (one.tokens == other.tokens).all()
    np.testing.assert_allclose(one.values, other.values)


def in_order(answer: Any) -> Any:
    """All entries of a gradient, by token."""
    return np.take_along_axis(answer.values, np.argsort(answer.tokens, axis=1), axis=1)


def test_the_gradient_is_that_of_the_loss() -> None:
    defended, of, meter = victim(), problem(), StepMeter()
    answer = gradient(defended, of, meter)
    assert answer.loss == pytest.approx(float(scores(defended, of)[0]))
    assert (np.diff(answer.values, axis=1) >= 0).all()
    logits = np.asarray(defended.backend.classify([np.concatenate([of.before, STRINGS[0], of.after])])[0])[0]
    chances = np.exp(logits - logits.max())
    chances /= chances.sum()
    parts = [in_order(gradient(defended, of, StepMeter(), target=label)) for label in (0, 2)]
    expected = (chances[0] * parts[0] + chances[2] * parts[1]) / (chances[0] + chances[2])
    np.testing.assert_allclose(in_order(answer), expected)
    assert meter.queries == 2  # a backward pass for each of the two other labels


def test_perturbations_have_that_gradient_by_differences() -> None:
    defended, of, step = victim(), problem(), 1e-5

    def loss(delta: Any) -> Any:
        return defended.perturb([(of, Perturb(STRINGS[0], delta), StepMeter())])[0]

    at = RNG.normal(size=loss(None).gradient.shape) * 0.1
    slope = loss(at).gradient
    for _ in range(5):
        direction = RNG.normal(size=slope.shape)
        found = (loss(at + step * direction).loss - loss(at - step * direction).loss) / (2 * step)
        assert found == pytest.approx(float((slope * direction).sum()), rel=1e-4)


def test_a_text_of_the_authors_choice() -> None:
    backend = ToyLanguageModel(TOKENIZER)
    example = Example("v-0", (Chunk("Say: "), Chunk("", Edit.OVERWRITABLE)), target=" over the fence")
    of = place(example, toy_threat("gradient", tokens=3), TOKENIZER, allowed_tokens(TOKENIZER))
    other = replace(of, example=replace(example, target=" the red fox"))
    for layers in ((), (REWRITTEN,)):
        defended = DefendedVictim(backend, layers, answer_tokens=8)
        chosen, theirs = scores(defended, of, target=" the red fox"), scores(defended, other)
        np.testing.assert_allclose(chosen, theirs)
        assert not np.allclose(chosen, scores(defended, of))
    assert continuation_ids(TOKENIZER, " the red fox") == other.target


class Asks(Attack):
    """Asks one request."""

    name, access = "asks", "gradient"
    request: Any = None

    def start(self, problem: Any, rng: Any) -> Any:
        return problem.state(STRINGS[0])

    def step(self, state: Any, problem: Any, rng: Any) -> Any:
        yield self.request
        return state


@pytest.mark.parametrize("target", [3, -1, True, " red", 1.0])
def test_a_target_that_the_model_cannot_say_is_a_bad_request(target: Any) -> None:
    attack = Asks()
    attack.request = Score(STRINGS, target=target)
    search = Search(ModelRouter(victim()), attack, (0,), "gradient")
    with pytest.raises(PluginError, match=r"attack asks, .*bad request: Score.target is the index of one of the 3"):
        search.run([problem()])


def test_limits_count_every_pass() -> None:
    attack = Asks(Asks.Params(steps=5))
    attack.request = Gradient(STRINGS[0], 4)
    search = Search(ModelRouter(victim()), attack, (0,), "gradient", budget=SearchBudget(queries=5))
    assert sum(row.queries for row in search.run([problem()]).rows) == 4
