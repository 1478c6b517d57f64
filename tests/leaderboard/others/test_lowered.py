"""The law of claims: whatever they broke, a row with them is never more robust, and costs no more to break."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from leaderboard.others.lowered import OwnCost, SeedOutcome, _cost, _rate, lowered

AMOUNTS = st.none() | st.floats(0, 1e20)


@st.composite
def boards(draw: Any) -> tuple[dict[int, SeedOutcome], list[dict[int, Any]]]:
    """Outcomes of a row by seed, and what claims broke; a claim may miss seeds."""
    outcomes, sizes = {}, {}
    for seed in range(draw(st.integers(1, 3))):
        sizes[seed] = draw(st.integers(1, 6))
        outcomes[seed] = SeedOutcome(tuple(f"e{at}" for at in range(sizes[seed])), flags(draw, sizes[seed]))
    claims = [
        {seed: flags(draw, size) for seed, size in sizes.items() if draw(st.booleans())}
        for _ in range(draw(st.integers(0, 3)))
    ]
    return outcomes, claims


def flags(draw: Any, size: int) -> Any:
    return np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), dtype=bool)


@given(boards())
def test_no_example_is_mended(board: Any) -> None:
    outcomes, claims = board
    joint = lowered(outcomes, claims)
    assert joint.keys() == outcomes.keys()
    for seed, own in outcomes.items():
        assert joint[seed].examples == own.examples  # none is added and none left out
        assert (joint[seed].broken >= own.broken).all()
        by_any = np.logical_or.reduce([own.broken, *(claim[seed] for claim in claims if seed in claim)])
        assert (joint[seed].broken == by_any).all()  # and nothing falls by itself
    before, after = _rate(outcomes), _rate(joint)
    assert (after.successes >= before.successes, after.trials) == (True, before.trials)


@given(boards())
def test_one_more_claim_never_raises_robustness(board: Any) -> None:
    outcomes, claims = board
    rates = [_rate(lowered(outcomes, claims[:count])).value for count in range(len(claims) + 1)]
    assert rates == sorted(rates)
    assert rates[-1] == _rate(lowered(outcomes, claims[::-1])).value  # whatever their order


@given(boards(), AMOUNTS, AMOUNTS, st.lists(AMOUNTS, min_size=3, max_size=3), st.floats(0.01, 1))
def test_claims_make_no_row_dearer_and_invent_no_cost(
    board: Any, to_target: float | None, full: float | None, spent: list[float | None], target: float
) -> None:
    outcomes, claims = board
    if not claims:
        return
    spent = spent[: len(claims)]
    cost = _cost(OwnCost(to_target, full), target, outcomes, claims, spent)
    if cost is None:
        return
    assert cost.compute is None or to_target is None or cost.compute < to_target
    if cost.compute is None:
        assert to_target is None  # what is unknown replaces no number
    elif all(part is None for part in spent):
        pytest.fail("a cost that nobody declared")


def test_by_hand() -> None:
    own = {0: SeedOutcome(("a", "b", "c", "d"), np.array([True, False, False, False]))}
    half, all_but_own = ({0: np.array(flags)} for flags in ([False, True, False, False], [False, True, True, True]))
    assert _rate(lowered(own, [half])).successes == 2
    cost = OwnCost(None, 10.0)
    together = _cost(cost, 0.5, own, [half], [3.0])
    assert together is not None
    assert (together.compute, together.with_own) == (13.0, True)
    alone = _cost(cost, 0.5, own, [half, all_but_own], [None, 7.0])
    assert alone is not None
    assert (alone.compute, alone.with_own) == (7.0, False)  # one that declares nothing does not hide another's
    unknown = _cost(cost, 0.5, own, [half], [None])
    assert unknown is not None
    assert unknown.compute is None
    assert _cost(OwnCost(2.0, 10.0), 0.5, own, [half], [None]) is None
