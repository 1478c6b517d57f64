"""What `docs/what_attacks_hear.md` says of requests behind guards and votes, and of the best string so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.api.attack import Attack
from harness.api.requests import Classify, Generate, Score
from harness.api.runtime_defense import GuardDefense, Ruling, VoteDefense
from harness.engine.defended.layer import Layer
from harness.engine.defended.victim import DefendedVictim
from harness.engine.losses import cross_entropy
from harness.engine.meter import StepMeter
from harness.engine.search.router import ModelRouter
from harness.engine.search.search import Search
from harness.testing.toys.backend import ToyBackend
from harness.testing.toys.examples import LABELS, ordinary


class Echo(VoteDefense):
    """Copies without some of their words."""

    name = "echo"

    def __init__(self, share: float = 0.4) -> None:
        super().__init__()
        self.share = share

    def copies(self) -> int:
        return 9

    def copy(self, case: Any) -> Any:
        yield from ()
        return " ".join(word for word in case.text.split(" ") if case.rng.random() >= self.share) or case.text


class Charges(GuardDefense):
    """Refuses everything, and says by how much."""

    name = "charges"

    def ruling(self, case: Any) -> Any:
        yield from ()
        return Ruling(True, penalty=2.0)


PAGE = (Path(__file__).parents[3] / "docs" / "what_attacks_hear.md").read_text(encoding="utf-8")
CASE = ordinary("labels", "scores", tokens=4)
PROBLEM = CASE.problems()[0]
STRINGS = PROBLEM.random_tokens(np.random.default_rng(0), 12)


def defended(*layers: Layer, draws: int = 1) -> DefendedVictim:
    return DefendedVictim(ToyBackend(CASE.tokenizer, context=8192), layers, LABELS, draws=draws)


def score(victim: DefendedVictim, strings: Any, name: str = "a") -> Any:
    return victim.score([(PROBLEM, Score(strings), StepMeter(names=(name,)))])[0]


def classify(victim: DefendedVictim, strings: Any, name: str = "a") -> Any:
    request = Classify(tuple(PROBLEM.prompts(strings)))
    return victim.classify([(PROBLEM, request, StepMeter(names=(name,)))])[0]


def test_behind_a_vote_score_and_classify_tell_of_different_things() -> None:
    victim = defended(Layer(Echo()), draws=32)
    losses = score(victim, STRINGS)
    of_shares = cross_entropy(classify(victim, STRINGS), PROBLEM.example.proxy_label)
    print("Score:", losses.round(2), "Classify:", of_shares.round(2))
    assert np.isfinite(losses).all()
    assert float(np.abs(losses - of_shares).max()) > 0.3
    shares = np.exp(classify(victim, STRINGS))
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    counts = shares * 9.5  # nine votes, and half a one for the mean probability
    assert (np.abs(counts - np.round(counts)) <= 0.5).all()


def test_a_guard_that_charges_is_heard_by_score_alone() -> None:
    guarded, bare = defended(Layer(Charges())), defended()
    np.testing.assert_allclose(score(guarded, STRINGS), score(bare, STRINGS) + 2.0)
    assert np.isnan(classify(guarded, STRINGS)).all()
    request = Generate(tuple(PROBLEM.prompts(STRINGS)))
    assert guarded.generate([(PROBLEM, request, StepMeter())])[0] == [None] * len(STRINGS)


class BestSoFar(Attack):
    """Keeps the string with the lowest loss that it was ever told."""

    name, access = "best_so_far", "scores"

    def start(self, problem: Any, rng: Any) -> Any:
        return problem.state(problem.random_tokens(rng))

    def step(self, state: Any, problem: Any, rng: Any) -> Any:
        rows = problem.random_tokens(rng, 8)
        return state.best(rows, (yield Score(rows)))


def believed_and_true(draws: int) -> tuple[float, float]:
    """Of the strings that searches end with: the loss that they were told, and that over many fresh draws; means."""
    problems = ordinary("labels", "scores", count=8, tokens=4).problems()
    attack = BestSoFar(BestSoFar.Params(steps=16))
    search = Search(ModelRouter(defended(Layer(Echo()), draws=draws)), attack, (0, "hear"), "scores")
    strings = search.run(problems).strings
    judge = defended(Layer(Echo()), draws=200)
    fresh = [
        judge.score([(one.problem, Score(one.state.array[None]), StepMeter(names=("fresh", one.problem.example.id)))])
        for one in strings
    ]
    return float(np.mean([one.state.loss for one in strings])), float(np.mean([losses[0][0] for losses in fresh]))


@pytest.mark.slow
def test_the_best_so_far_flatters_itself_the_more_the_fewer_draws_there_are() -> None:
    found = {draws: believed_and_true(draws) for draws in (1, 4, 16)}
    print("told, true:", found)
    gaps = {draws: true - believed for draws, (believed, true) in found.items()}
    for believed, true in found.values():
        assert f"| {believed:.2f} | {true:.2f} |" in PAGE
    assert gaps[1] > 0.2
    assert gaps[1] > gaps[4] > gaps[16] > 0
