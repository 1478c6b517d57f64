"""Several coordinates in one step: the substitutions of the best candidates are put together, as in I-GCG."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, strategies as st

from harness.api.requests import Gradient, Score
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.dry_run import dry_run_attack
from plugins.attacks._common.substitutions import merged_substitutions
from plugins.attacks.gcg import GCG
from plugins.attacks.probe_gcg import DRAFT, ProbeGCG
from tests.engine.toy import ToyBackend, searching
from tests.plugins.attacks.test_gcg import answer_for, gcg, pretend_problem, toy_problem


@given(seed=st.integers(0, 10**6), best=st.integers(1, 8), swaps=st.integers(1, 2))
@example(seed=178, best=6, swaps=1)  # one string is there twice, once with a loss and once without
def test_substitutions_are_put_together_from_the_best_candidate_on(seed: int, best: int, swaps: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(4, size=5)
    candidates = np.tile(tokens, (6, 1))
    for row in candidates:
        row[rng.permutation(5)[:swaps]] = rng.integers(4, 9, size=swaps)
    losses = np.where(rng.random(6) < 0.2, np.inf, rng.permutation(6).astype(float))
    merged = merged_substitutions(tokens, candidates, losses, best)
    string, wanted = list(tokens), []
    for loss, own in sorted((loss, row) for loss, row in zip(losses, candidates.tolist(), strict=True))[:best]:
        if loss == np.inf:
            continue
        string = [new if new != old else now for new, old, now in zip(own, tokens, string, strict=True)]
        if string not in [*candidates.tolist(), *wanted]:
            wanted.append(string)
    assert merged.tolist() == [list(map(int, row)) for row in wanted]
    assert merged.shape[1] == 5


def step_of(attack: GCG, losses: Any) -> tuple[list[Score], Any]:
    """What a step has scored, ``losses`` being called with each request, and the state after it."""
    problem = pretend_problem()
    step = attack.step(problem.state(np.asarray([1, 2, 3, 4])), problem, np.random.default_rng(0))
    asked, scored = next(step), []
    assert isinstance(asked, Gradient)
    answer: Any = answer_for(problem, np.random.default_rng(1), asked.top)
    while True:
        try:
            scored.append(step.send(answer))
        except StopIteration as stop:
            return scored, stop.value
        answer = losses(scored[-1])


def test_the_best_of_the_merged_strings_is_taken_where_it_is_better() -> None:
    attack = gcg(candidates=12, topk=9, merged=5)
    (first, merged), after = step_of(attack, lambda request: np.arange(len(request.candidates), 0.0, -1) - 3)
    assert 1 <= len(merged.candidates) <= 4
    changed = merged.candidates != np.asarray([1, 2, 3, 4])
    assert changed.sum(axis=1).max() > 1
    best = first.candidates[::-1]  # of the made-up losses the last is the lowest
    np.testing.assert_array_equal(merged.candidates, merged_substitutions(np.arange(1, 5), best, np.arange(12.0), 5))
    assert after.tokens == tuple(first.candidates[-1].tolist())  # ties go to the candidate

    (first, merged), after = step_of(
        attack, lambda request: -np.arange(len(request.candidates)) - 20.0 * (len(request.candidates) < 12)
    )
    assert after.tokens == tuple(merged.candidates[-1].tolist())
    (only,), _ = step_of(gcg(candidates=12, topk=9), lambda request: np.zeros(12))
    assert len(only.candidates) == 12


def test_where_tokens_add_up_merging_gets_further_in_as_many_steps() -> None:
    """The toy's logits are sums over tokens, so that what helps alone helps together."""
    problem = toy_problem(6)

    def last(**params: Any) -> float:
        rows = (
            searching(DefendedVictim(ToyBackend()), gcg(steps=3, candidates=16, topk=60, **params)).run([problem]).rows
        )
        return float(rows[-1].attack_loss)

    assert last(merged=6) < last() - 1e-3


def test_probe_gcg_has_the_victim_score_what_is_merged() -> None:
    attack = ProbeGCG(ProbeGCG.Params(candidates=32, topk=9, merged=4))
    scored, _ = step_of(attack, lambda request: np.random.default_rng(2).random(len(request.candidates)))
    assert [request.model for request in scored] == [DRAFT, "", "", ""]
    known = {tuple(row) for request in scored[1:3] for row in request.candidates.tolist()}
    tried = np.asarray(sorted(known)) != np.arange(1, 5)
    for row in scored[3].candidates:  # made of what the victim has scored alone
        changed = np.flatnonzero(row != np.arange(1, 5))
        assert all(
            any(one[p] == row[p] for one, own in zip(sorted(known), tried, strict=True) if own[p]) for p in changed
        )


def test_a_step_costs_one_query_less_than_there_are_merged() -> None:
    plain = dry_run_attack(gcg(candidates=64, topk=8), Threat())
    assert dry_run_attack(gcg(candidates=64, topk=8, merged=7), Threat()).scored == pytest.approx(
        plain.scored + 6, abs=2
    )


def test_parameters_of_older_runs_have_the_keys_that_they_had() -> None:
    assert not {"merged", "starts"} & set(GCG.Params().identity())
    assert GCG.Params(merged=7, starts=2).identity() == GCG.Params().identity() | {"merged": 7, "starts": 2}
    assert "merged" not in ProbeGCG.Params(starts=3).identity()
