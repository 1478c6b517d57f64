"""Relaxed strings at the defended victim: corners are tokens, costs are metered, and defenses of texts refuse them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.api.problem.group import Group
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.requests import Gradient, RelaxedGradient, Score
from harness.api.runtime_defense import GuardDefense, TransformDefense
from harness.api.task import NO_LABEL, Chunk, Edit, Example
from harness.engine.defended.layer import Layer
from harness.engine.defended.victim import DefendedVictim
from harness.engine.meter import StepMeter
from harness.engine.search.router import ModelRouter, PendingRequest
from harness.engine.top_substitutions import full_gradient
from harness.errors import AccessError, PluginError
from harness.flops import Flops
from harness.testing.toys.backend import ToyBackend, ToyLatent
from harness.testing.toys.examples import toy_threat
from harness.testing.toys.language_model import ToyLanguageModel
from harness.testing.toys.tokenizers import tokenizer_of

LABELS = (" red", " green", " blue")
TOKENIZER = tokenizer_of("byte_bpe")


def problem(name: str = "fox", proxy: int = 2, target: str = "") -> Problem:
    labels = {"target": target} if target else {"label": 1, "proxy_label": proxy}
    example = Example(name, (Chunk(f"The colour of the {name}: "), Chunk("", Edit.OVERWRITABLE)), **labels)  # type: ignore[arg-type]
    return place(example, toy_threat("gradient", tokens=3), TOKENIZER, allowed_tokens(TOKENIZER), LABELS)


def victim(*layers: Layer) -> DefendedVictim:
    return DefendedVictim(ToyLatent(TOKENIZER, 0, 3, context=8192), layers, LABELS)


def asked(defended: DefendedVictim, of: Problem, weights: Any, **options: Any) -> tuple[Any, StepMeter]:
    meter = StepMeter()
    return defended.relaxed([(of, RelaxedGradient(weights, **options), meter)])[0], meter


@pytest.mark.parametrize("proxy", [0, 2, NO_LABEL])
def test_corners_are_strings_of_tokens(proxy: int) -> None:
    """Also where the loss is of all wrong labels together, which takes a pass for each."""
    of, defended = problem(proxy=proxy), victim()
    tokens = of.random_tokens(np.random.default_rng(0))
    corner = (tokens[:, None] == of.allowed).astype(float)
    answer, meter = asked(defended, of, corner)
    plain = StepMeter()
    (gradient,) = defended.gradient([(of, Gradient(tokens, len(of.allowed)), plain)])
    (loss,) = defended.score([(of, Score(tokens[None]), StepMeter())])[0]
    assert answer.loss == pytest.approx(loss)
    np.testing.assert_allclose(answer.gradient, full_gradient(gradient, of.allowed), atol=1e-12)
    said = int(defended.backend.classify([np.concatenate([of.before, tokens, of.after])])[0][0].argmax())
    assert answer.wrong == (said == 1 if proxy == NO_LABEL else said != proxy)
    assert (meter.queries, meter.attack.nominal) == (plain.queries, plain.attack.nominal)
    assert meter.queries == (2 if proxy == NO_LABEL else 1)


@pytest.mark.parametrize("target", ["", " over the fence"])
def test_the_gradient_is_that_of_the_loss_by_the_weights(target: str) -> None:
    of = problem(target=target)
    defended = DefendedVictim(ToyLanguageModel(TOKENIZER)) if target else victim()
    rng = np.random.default_rng(1)
    weights = rng.dirichlet(np.ones(len(of.allowed)), 3)
    answer, _ = asked(defended, of, weights)
    for other in rng.dirichlet(np.ones(len(of.allowed)), (4, 3)):
        step = 1e-5 * (other - weights)
        up, down = asked(defended, of, weights + step)[0].loss, asked(defended, of, weights - step)[0].loss
        assert (up - down) / 2 == pytest.approx(float((answer.gradient * step).sum()), rel=1e-4)


def test_examples_that_share_a_string_answer_with_means() -> None:
    group = Group.of([problem(name) for name in ("fox", "dog", "river")])
    weights = np.random.default_rng(2).dirichlet(np.ones(len(group.allowed)), 3)
    meters = [StepMeter() for _ in group.members]
    router = ModelRouter(victim())
    (answer,) = router.answer([PendingRequest(group, router.checked(RelaxedGradient(weights), group, "x"), meters)])
    alone = [asked(victim(), member, weights)[0] for member in group.members]
    assert answer.loss == pytest.approx(np.mean([one.loss for one in alone]))
    np.testing.assert_allclose(answer.gradient, np.mean([one.gradient for one in alone], axis=0))
    assert answer.wrong == np.mean([one.wrong for one in alone])
    assert [meter.queries for meter in meters] == [1, 1, 1]


class Refuses(GuardDefense):
    """Refuses some prompts, and gives the victim's gradient."""

    name = "refuses"

    def blocks(self, texts: Any, fitted: dict[str, Any]) -> list[bool]:
        return [False for _ in texts]

    def cost(self, text: str) -> Flops:
        return Flops()


class Penalises(Refuses):
    """Adds a penalty with a gradient of its own."""

    name = "penalises"
    offers = "surrogate"


class Hides(Refuses):
    """Gives no gradient."""

    name = "hides"
    offers = "none"


class Capitals(TransformDefense):
    """Writes it large."""

    name = "capitals"

    def apply(self, texts: Any) -> list[str]:
        return [text.upper() for text in texts]

    def cost(self, text: str) -> Flops:
        return Flops()


@pytest.mark.parametrize(
    ("defense", "words"),
    [
        (Capitals, "defense capitals: rewrites the prompt, so a relaxed string is not a text and cannot go"),
        (
            Penalises,
            "defense penalises: adds a penalty that is computed from texts, and a relaxed string is not a text; use",
        ),
        (Hides, "defense hides: offers no gradient"),
    ],
)
def test_defenses_that_need_a_text_refuse_it_in_words(defense: type, words: str) -> None:
    of = problem()
    weights = np.full((3, len(of.allowed)), 1 / len(of.allowed))
    with pytest.raises(AccessError, match=words):
        asked(victim(Layer(defense())), of, weights)
    behind, bare = asked(victim(Layer(Refuses())), of, weights)[0], asked(victim(), of, weights)[0]
    assert behind.loss == bare.loss  # of a guard that only refuses, the victim's


def test_a_backend_that_reads_none_says_which_would() -> None:
    of = problem()
    router = ModelRouter(DefendedVictim(ToyBackend(TOKENIZER), (), LABELS[:2]))
    with pytest.raises(AccessError, match=r"does not answer relaxed requests .*use a victim whose weights are here"):
        router.checked(RelaxedGradient(np.ones((3, len(of.allowed)))), of, "attack x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w[:, 1:], r"RelaxedGradient\.weights must be of shape \[S, \d+\] with S from 1 to 3"),
        (lambda w: np.concatenate([w, w]), r"got \[6, "),
        (lambda w: w[:0], r"got \[0, "),
        (lambda w: w * 1.1, "each row must be a mixture"),
        (lambda w: w - 2 * w[0, 0] * np.eye(*w.shape), "no weight below 0"),
        (lambda w: w * np.nan, "each row must be a mixture"),
    ],
)
def test_what_is_no_mixture_is_refused(change: Any, words: str) -> None:
    of, router = problem(), ModelRouter(victim())
    weights = np.full((3, len(of.allowed)), 1 / len(of.allowed))
    with pytest.raises(PluginError, match=words):
        router.checked(RelaxedGradient(change(weights)), of, "attack x")
    rounded = router.checked(RelaxedGradient(weights.astype(np.float32) * (1 + 1e-5)), of, "attack x").weights
    np.testing.assert_allclose(rounded.sum(axis=1), 1.0, rtol=1e-12)
