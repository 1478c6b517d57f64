"""The table of requests: every request is in it, and what it says of one is what the engine then does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pytest

from harness.api.model.backend import Ability
from harness.api.problem.group import Group
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.requests import (
    Classify,
    DefenseRequest,
    Generate,
    Gradient,
    Perturb,
    RelaxedGradient,
    Request,
    Sample,
    Score,
)
from harness.engine.defended.defense_requests import DEFENSE_REQUESTS
from harness.engine.defended.victim import DefendedVictim
from harness.engine.made_up_answers import made_up_answer
from harness.engine.meter import StepMeter
from harness.engine.search.request_kinds import REQUEST_KINDS, kind_of
from harness.engine.search.router import ModelRouter, PendingRequest
from harness.errors import AccessError, PluginError
from harness.testing.toys.backend import ToyLatent
from harness.testing.toys.examples import toy_threat
from harness.testing.toys.language_model import ToyLanguageModel
from tests.engine.toy import toy_examples, toy_tokenizer

THREAT = toy_threat("latent", tokens=5)


def problems(count: int = 1, target: str = "") -> list[Problem]:
    tokenizer = toy_tokenizer()
    return [
        place(example, THREAT, tokenizer, allowed_tokens(tokenizer)) for example in toy_examples(count, target=target)
    ]


def strings(problem: Problem, count: int) -> Any:
    return problem.random_tokens(np.random.default_rng(0), count)


REQUESTS = {
    Score: lambda p: Score(strings(p, 7)),
    Gradient: lambda p: Gradient(strings(p, 1)[0], top=4),
    Sample: lambda p: Sample(strings(p, 3)[:, :2], k=2, seed=1),
    Generate: lambda p: Generate((p.before_text, p.before_text + " and"), max_tokens=3),
    Classify: lambda p: Classify((p.before_text, p.before_text + " and", "fox")),
    Perturb: lambda p: Perturb(strings(p, 1)[0]),
    RelaxedGradient: lambda p: RelaxedGradient(np.full((5, len(p.allowed)), 1 / len(p.allowed))),
}


def test_every_request_has_its_row() -> None:
    assert set(REQUEST_KINDS) == set(get_args(Request)) == set(REQUESTS)
    assert {kind.ability for kind in REQUEST_KINDS.values()} < set(get_args(Ability))
    assert set(DEFENSE_REQUESTS) == set(get_args(DefenseRequest))
    assert all(callable(getattr(DefendedVictim, kind.ability)) for kind in REQUEST_KINDS.values())


@pytest.mark.parametrize("request_type", REQUESTS, ids=lambda cls: cls.__name__)
def test_what_the_table_foresees_is_what_is_metered(request_type: type) -> None:
    in_text = request_type in (Sample, Generate)
    tokenizer = toy_tokenizer()
    backend: Any = ToyLanguageModel(tokenizer) if in_text else ToyLatent(tokenizer)
    models = ModelRouter(DefendedVictim(backend, labels=() if in_text else (" A", " B")))
    (problem,) = problems(target=" over the fence" if in_text else "")
    request, meter = REQUESTS[request_type](problem), StepMeter()
    (answer,) = models.answer([PendingRequest(problem, models.checked(request, problem, "attack x"), (meter,))])
    kind = kind_of(request)
    assert meter.queries == kind.sequences(request)
    foreseen = kind.flops(request, problem, backend.n_params)
    if request_type is Generate:  # as long as they may be
        assert 0 < meter.attack.nominal <= foreseen
    else:
        assert meter.attack.nominal == foreseen
    made_up = made_up_answer(request, problem, np.random.default_rng(0))
    assert type(made_up) is type(answer)
    assert np.shape(made_up)[:1] == np.shape(answer)[:1]


@dataclass(frozen=True, slots=True)
class Named(Score):
    """A request of a plugin's own making."""

    label: str = ""


def test_a_subclass_of_a_request_is_answered_as_one() -> None:
    models = ModelRouter(DefendedVictim(ToyLatent(toy_tokenizer())))
    group = Group.of(problems(3))
    candidates = strings(group, 4)
    answers = []
    for request in (Score(candidates), Named(candidates, label="mine")):
        checked = models.checked(request, group, "attack x", "scores")
        meters = [StepMeter() for _ in group.members]
        answers += models.answer([PendingRequest(group, checked, meters)])
        assert [meter.queries for meter in meters] == [4, 4, 4]
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize(
    ("yielded", "error", "words"),
    [
        ("text", PluginError, "attack x: yielded str; a step may yield Score, Gradient, Sample, Generate, Classify, "),
        (Score(np.zeros((1, 9), int)), PluginError, "attack x: bad request: 9 tokens per string"),
        (Score(np.zeros((1, 2), int), model="lm"), PluginError, "attack x: asked model 'lm', but models"),
        (Generate("fox"), PluginError, r"attack x: bad request: Generate\.prompts must be a tuple"),  # type: ignore[arg-type]
        (Gradient(np.zeros(2, int), 1), AccessError, "attack x: asked for gradient, the threat model grants scores"),
        (Sample(np.zeros((1, 2), int), 1, 0), AccessError, "attack x: this victim does not answer sample requests"),
    ],
)
def test_a_request_that_cannot_be_answered_is_told_with_where(yielded: Any, error: type, words: str) -> None:
    models = ModelRouter(DefendedVictim(ToyLatent(toy_tokenizer()), labels=("a", "b")))
    with pytest.raises(error, match=words):
        models.checked(yielded, problems()[0], "attack x", "scores")
