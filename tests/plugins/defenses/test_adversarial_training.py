"""The recipe of adversarial training: true ranks, weights, strength by absolute round; rounds are in `test_rounds`."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from harness.api.refs import PluginRef
from harness.api.threat import Threat
from harness.flops import nominal_backward, nominal_forward
from harness.registry.registry import Registry
from plugins.attacks.gcg import GCG
from plugins.attacks.latent import LatentAttack
from plugins.attacks.random_token import RandomToken
from plugins.defenses._training.adversarial_pool import (
    PoolEntry,
    average_ranks,
    load_pool,
    log_weights,
    sample_pool,
    save_pool,
)
from plugins.defenses._training.step_schedule import StepSchedule, round_half_up
from plugins.defenses.adversarial_training import AdversarialTraining

VALUES = st.lists(st.sampled_from([-1.5, 0.0, 0.25, 1.0, 3.0, 7.0, float("inf")]), min_size=1, max_size=40)


def defense(**params: Any) -> AdversarialTraining:
    return AdversarialTraining(AdversarialTraining.Params(**params))


def pool_of(*entries: tuple[int, float | None]) -> list[PoolEntry]:
    """Entries of (round, last loss)."""
    return [PoolEntry(f"text {i}", i % 2, round, loss) for i, (round, loss) in enumerate(entries)]


def resolve(ref: PluginRef, changes: dict[str, Any]) -> Any:
    registry = Registry()
    for cls in (GCG, LatentAttack, RandomToken):
        registry.add("attack", cls, "test", "0")
    return registry.resolve("attack", PluginRef(name=ref.name, params={**ref.params, **changes})).plugin


def sampling_weights(pool: list[PoolEntry], decay: float) -> Any:
    """Probabilities of the first draw."""
    weights = np.exp(log_weights(pool, decay))
    return weights / weights.sum()


# -- ranks and weights ------------------------------------------------------------------------------------------------


@given(VALUES)
@settings(deadline=None)  # the first call imports scipy
def test_ranks_are_those_of_the_definition(values: list[float]) -> None:
    naive = [sum(w < v for w in values) + (sum(w == v for w in values) - 1) / 2 for v in values]
    np.testing.assert_array_equal(average_ranks(np.asarray(values)), naive)


@given(st.permutations(range(12)))
@settings(deadline=None)
def test_ranks_of_different_values_are_a_permutation_and_not_an_order(values: list[int]) -> None:
    """Sorting once gives the order, of which the rank is the inverse: the study's slip."""
    ranks = average_ranks(np.asarray(values, dtype=float))
    assert ranks.tolist() == values
    np.testing.assert_array_equal(np.argsort(np.argsort(values)), ranks)


@given(VALUES, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_ranks_go_with_their_values(values: list[float], random: Any) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    ranks = average_ranks(np.asarray(values))
    np.testing.assert_array_equal(average_ranks(np.asarray(values)[order]), ranks[order])


def test_weights_follow_the_law() -> None:
    pool = pool_of((1, 0.2), (1, 3.0), (2, 0.1), (2, None), (3, None), (3, 0.7))
    recency = np.asarray([0.5, 0.5, 2.5, 2.5, 4.5, 4.5])
    loss = np.asarray([1.0, 3.0, 0.0, 4.5, 4.5, 2.0])
    rank = (recency + loss) / 2
    for decay in (0.005, 0.3):
        wanted = np.exp(decay * (rank - rank.max()))
        np.testing.assert_allclose(sampling_weights(pool, decay), wanted / wanted.sum(), rtol=1e-12)


def test_the_newest_and_the_never_trained_are_favoured() -> None:
    weights = sampling_weights(pool_of((1, None), (2, None), (3, None)), 0.1)
    assert (np.diff(weights) > 0).all()
    weights = sampling_weights(pool_of((1, 0.1), (1, 5.0), (1, None)), 0.1)
    assert (np.diff(weights) > 0).all()


def test_without_decay_all_are_alike() -> None:
    np.testing.assert_allclose(sampling_weights(pool_of((1, 0.1), (2, None), (9, 4.0)), 0.0), np.full(3, 1 / 3))


@pytest.mark.slow
def test_sampling_is_without_replacement_and_by_weight() -> None:
    pool = pool_of(*((round, None) for round in range(5)))
    rng = np.random.default_rng(0)
    drawn = [tuple(sample_pool(pool, 2, 0.8, rng)) for _ in range(20_000)]
    assert all(a != b for a, b in drawn)
    weights = sampling_weights(pool, 0.8)
    pairs = Counter(drawn)
    for a in range(5):
        for b in range(5):
            wanted = 0.0 if a == b else weights[a] * weights[b] / (1 - weights[a])
            assert pairs[a, b] / 20_000 == pytest.approx(wanted, abs=0.01)


def test_the_steepest_decay_still_gives_as_many_as_asked() -> None:
    pool = pool_of(*((round, None) for round in range(300)))
    drawn = sample_pool(pool, 250, 1e6, np.random.default_rng(0))
    assert sorted(drawn) == list(range(50, 300))  # and takes the highest ranks
    assert sorted(sample_pool(pool, 300, 50.0, np.random.default_rng(0))) == list(range(300))


def test_a_pool_comes_back_as_it_was(tmp_path: Any) -> None:
    pool = pool_of((1, 0.1), (2, None))
    pool[0].text = "ünï\u2028code\n"
    save_pool(tmp_path / "pool.json", pool)
    assert load_pool(tmp_path / "pool.json") == pool


# -- strength, rounds, keys, estimate ---------------------------------------------------------------------------------


def test_the_studys_schedule() -> None:
    schedule = StepSchedule()
    assert [schedule.steps(round) for round in (1, 2, 30, 60, 61, 500)] == [8, 9, 36, 64, 64, 64]
    assert StepSchedule(start=5, end=5, rounds=1).steps(1) == 5
    assert [StepSchedule(start=8, end=4, rounds=3).steps(round) for round in (1, 2, 3, 4)] == [8, 6, 4, 4]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_strength_does_not_depend_on_how_many_rounds_there_are(round: int, few: int, many: int) -> None:
    ours, theirs = defense(rounds=max(few, round)), defense(rounds=max(many, round))
    assert ours.params.strength.steps(round) == theirs.params.strength.steps(round)
    threat = Threat()
    one, other = (d.round_identity(d.params.identity(), round, threat) for d in (ours, theirs))
    assert one == other  # so a longer training shares the rounds of a shorter one


def test_what_changes_weights_changes_the_key() -> None:
    threat = Threat()

    def of(round: int = 3, threat: Threat = threat, **params: Any) -> Any:
        made = defense(**params)
        return made.round_identity(made.params.identity(), round, threat)

    assert of() == of(evaluate="last") == of(rounds=30) == of(strength={"rounds": 60})
    assert of(strength={"end": 640}) != of()
    assert of(decay=0.1) != of()
    assert of(attack="random_token") != of()
    assert of(threat=Threat(tokens=4)) != of()
    assert of(round=1, strength={"end": 640}) == of(round=1)  # round 1 is not touched by how the ramp goes on


def test_rounding_is_no_truncation() -> None:
    assert [round_half_up(value) for value in (0.29 * 100, 0.8 * 1000, 2.5, 3.5, 0.4)] == [29, 800, 3, 4, 0]


def test_which_rounds_are_attacked() -> None:
    assert defense(rounds=4).evaluated() == (1, 2, 3, 4)
    assert defense(rounds=4, evaluate="last").evaluated() == (4,)
    assert defense(rounds=4, evaluate=(3, 1, 3)).evaluated() == (1, 3)
    for wrong in ((5,), (), (0,), "first"):
        with pytest.raises(ValidationError):
            AdversarialTraining.Params(rounds=4, evaluate=wrong)  # type: ignore[arg-type]


def test_search_is_nearly_all_of_the_compute_with_the_studys_numbers() -> None:
    made, tokens, n = defense(rounds=60), 100.0, 7_000_000
    for round in (1, 30, 60):
        total = made.estimate(n, tokens, round, Threat(), resolve)
        training = 1000 * tokens * (nominal_forward(n, 1) + nominal_backward(n, 1))
        search = 200 * made.params.strength.steps(round) * (128 + 3) * tokens * nominal_forward(n, 1)
        assert total == pytest.approx(search + training)
        assert search / total >= 0.98
    drawn = defense(attack={"random_token": {"draws": 1}})
    assert drawn.estimate(n, tokens, 1, Threat(), resolve) == pytest.approx(
        200 * 8 * tokens * nominal_forward(n, 1) + training
    )
