"""Attacks that want their best candidates alone find the same strings when the other losses are not told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.api.attack import Attack
from harness.api.model.backend import Backend, Scored, ScoreItem
from harness.api.requests import Score
from harness.api.task import NO_LABEL
from harness.engine.defended.layer import Layer
from harness.engine.defended.victim import DefendedVictim
from harness.engine.meter import StepMeter
from harness.errors import PluginError
from plugins.attacks.beast import Beast
from plugins.attacks.gcg import GCG
from plugins.attacks.probe_gcg import DRAFT, ProbeGCG
from plugins.attacks.random_search import RandomSearch
from plugins.attacks.random_token import RandomToken
from plugins.judges.labels import WrongLabel
from tests.engine.defended.test_pipeline import Spelling
from tests.engine.search.test_search import problems_of
from tests.engine.toy import ToyBackend, searching, without_time
from tests.plugins.attacks.test_beast import classifier, language_model


class Sparing:
    """Tells exact losses of the best alone, and of the others the loosest bounds that are allowed, in no useful order.

    Attributes:
        spared: how many losses were not told.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.spared = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        return [self._spare(item, scored) for item, scored in zip(items, self._backend.score(items), strict=True)]

    def _spare(self, item: ScoreItem, scored: Scored) -> Scored:
        if item.best is None or item.best >= len(scored.losses):
            return scored
        exact = np.zeros(len(scored.losses), dtype=bool)
        exact[np.argsort(scored.losses, kind="stable")[: item.best]] = True
        least = np.nextafter(scored.losses[exact].max(), np.inf)
        self.spared += int((~exact).sum())
        losses = np.where(exact, scored.losses, least)
        return Scored(np.where(exact[:, None], scored.logits, np.nan), losses, scored.executed, exact)


ATTACKS: dict[str, Attack] = {
    "gcg": GCG(GCG.Params(steps=5, candidates=16, topk=8)),
    "merged, starts": GCG(GCG.Params(steps=4, candidates=16, topk=8, merged=4, starts=6)),
    "annealed, momentum": GCG(GCG.Params(steps=5, candidates=16, topk=8, keep="annealed", momentum=0.5)),
    "random_search": RandomSearch(RandomSearch.Params(steps=5, candidates=16)),
    "random_token": RandomToken(RandomToken.Params(steps=5, draws=16)),
    "probe_gcg": ProbeGCG(ProbeGCG.Params(steps=5, candidates=32, topk=8, probe=8)),
}
SHARED = {"a shared string": GCG(GCG.Params(steps=4, candidates=16, topk=8, prompts=3))}


def rows_of(attack: Attack, backend: Any, **models: Any) -> Any:
    searched = searching(DefendedVictim(backend), attack, judge=WrongLabel(), models=models)
    return without_time(searched.run(problems_of(ToyBackend(), 3)).rows)


@pytest.mark.parametrize("name", [*ATTACKS, *SHARED])
def test_the_strings_are_the_same(name: str) -> None:
    attack: Attack = (ATTACKS | SHARED)[name]
    models = {DRAFT: DefendedVictim(ToyBackend(seed=4))} if name == "probe_gcg" else {}
    sparing = Sparing(ToyBackend())
    assert rows_of(attack, sparing, **models) == rows_of(attack, ToyBackend(), **models)
    assert (sparing.spared > 0) == (name in ATTACKS)  # the best for one example are not the best for all


def test_so_are_those_of_beast() -> None:
    attack = Beast(Beast.Params(steps=6, width=3, branching=4))
    made, sparing = classifier(), Sparing(classifier())
    models = {"sampler": DefendedVictim(language_model())}

    def rows(backend: Any) -> Any:
        searched = searching(DefendedVictim(backend), attack, judge=WrongLabel(), models=models)
        return without_time(searched.run(problems_of(made, 2)).rows)

    assert rows(sparing) == rows(made)
    assert sparing.spared


def score(backend: Backend, problem: Any, request: Score, *layers: Layer) -> Any:
    (losses,) = DefendedVictim(backend, list(layers)).score([(problem, request, StepMeter())])
    return losses


def test_where_the_victims_losses_are_not_what_is_compared_all_are_told() -> None:
    backend = ToyBackend(labels=3)
    sparing: Any = Sparing(backend)
    (problem,) = problems_of(backend, 1)
    request = Score(problem.random_tokens(np.random.default_rng(0), 20), best=2)
    guarded = Layer(Spelling(1))
    np.testing.assert_array_equal(score(sparing, problem, request, guarded), score(backend, problem, request, guarded))
    any_wrong = replace(problem, example=replace(problem.example, proxy_label=NO_LABEL))
    np.testing.assert_array_equal(score(sparing, any_wrong, request), score(backend, any_wrong, request))
    assert not sparing.spared
    assert score(sparing, problem, request).tolist() != score(backend, problem, request).tolist()


def test_at_least_one_must_be_wanted() -> None:
    class Nothing(RandomToken):
        def step(self, state, problem, rng):  # type: ignore[no-untyped-def]
            yield Score(problem.random_tokens(rng, 4), best=0)

    with pytest.raises(PluginError, match=r"Score\.best must be at least 1"):
        rows_of(Nothing(RandomToken.Params(steps=1)), ToyBackend())
