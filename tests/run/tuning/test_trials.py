"""The search over made-up costs: never beyond its budget, resumed as if it had never stopped, paired, and seeded."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, strategies as st

from harness.errors import RunError
from harness.run.tuning.dimension import Choices, Range
from harness.run.tuning.trial import CellOutcome, Score, Trial, best_trial, score
from harness.run.tuning.trials import LEAST_BEFORE_GIVING_UP, MOST_IDLE, Quote, search

SPACE = (Range("size", 1, 1000, True, True), Range("rate", 0.0, 1.0, False, False), Choices("keep", ("a", "b")))
FIRST = {"size": 30, "rate": 0.5, "keep": "a"}


@dataclass
class MadeUp:
    """A bench whose candidates take at most what they are quoted; those of a rate near ``best`` are strong."""

    most: float = 10.0
    thrift: float = 1.0
    refused: float = 0.0  # candidates of a larger rate are too dear
    best: float = 0.8
    asked: list[dict[str, Any]] = field(default_factory=list)

    def quote(self, values: Mapping[str, Any]) -> Quote:
        if self.refused and values["rate"] > self.refused:
            return Quote(0, why="too dear")
        return Quote(4, (self.most / 2, self.most / 2))

    def run(self, values: Mapping[str, Any], steps: int, part: int) -> Sequence[CellOutcome]:
        self.asked.append({**values, "part": part})
        spent = self.most / 2 * random.Random(repr((sorted(values.items()), part))).uniform(self.thrift, 1)
        distance = abs(values["rate"] - self.best)
        return [CellOutcome(round(20 * (1 - distance)), 20, (distance,), spent, spent * 0.9, 20)]


def at_random(space: Any, trials: Sequence[Trial], seed: int) -> dict[str, Any]:
    """A proposal that takes no time: the budget does not depend on who proposes."""
    rng = random.Random(f"{seed}/{len(trials)}")
    return {"size": rng.randint(1, 1000), "rate": rng.random(), "keep": rng.choice("ab")}


@given(
    budget=st.floats(25, 120),
    most=st.floats(3, 12),
    thrift=st.floats(0.1, 1),
    clean=st.floats(0, 1),
    refused=st.sampled_from([0.0, 0.3, 0.7]),
)
def test_the_budget_is_never_overspent(budget: float, most: float, thrift: float, clean: float, refused: float) -> None:
    bench = MadeUp(most, thrift, refused)
    seen: list[Trial] = []
    with patch("harness.run.tuning.trials.propose", at_random):
        ended = search(bench, SPACE, FIRST if not refused else None, budget, clean, 0, keep=seen.append)
    assert ended.spent <= budget
    assert ended.spent == pytest.approx(clean + sum(trial.flops for trial in ended.trials))
    assert seen == ended.trials
    assert [trial.number for trial in seen] == list(range(len(seen)))
    if "more than is left" in ended.why:
        assert ended.spent + most > budget, "it stops no earlier than it has to"


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been() -> None:
    whole = search(MadeUp(), SPACE, FIRST, 200, 1, 7).trials
    assert len(whole) > 15
    for stopped in (0, 1, 5, 12):
        kept = [Trial.from_json(trial.to_json()) for trial in whole[:stopped]]
        bench = MadeUp()
        again = search(bench, SPACE, FIRST, 200, 1, 7, kept)
        assert again.trials == whole
        tried = [trial for trial in whole[stopped:] if trial.flops]
        assert len({tuple(asked.values()) for asked in bench.asked}) == sum(1 + (t.state == "complete") for t in tried)


def test_a_larger_budget_goes_on_where_the_smaller_ended() -> None:
    small, large = (search(MadeUp(), SPACE, FIRST, budget, 0, 3).trials for budget in (80, 160))
    assert large[: len(small)] == small
    assert len(large) > len(small)


def test_the_seed_alone_makes_the_candidates() -> None:
    one, same, other = (search(MadeUp(), SPACE, FIRST, 120, 0, seed).trials for seed in (1, 1, 2))
    assert one == same
    assert [trial.values for trial in one] != [trial.values for trial in other]
    assert one[0].values == FIRST, "the attack as the spec has it comes first"


def test_it_finds_what_is_strong() -> None:
    found = best_trial(search(MadeUp(), SPACE, FIRST, 400, 0, 0).trials)
    assert found is not None
    assert abs(found.values["rate"] - 0.8) < 0.1


def test_what_is_behind_after_half_is_given_up() -> None:
    ended = search(MadeUp(), SPACE, FIRST, 300, 0, 0)
    given_up = [trial for trial in ended.trials if trial.state == "given up"]
    assert given_up
    assert all(trial.number >= LEAST_BEFORE_GIVING_UP and trial.whole is None for trial in given_up)
    assert all(trial.flops <= 5 for trial in given_up), "its second half is not paid for"


def test_a_small_space_is_not_paid_for_twice() -> None:
    bench = MadeUp()
    ended = search(bench, [Choices("rate", (0.1, 0.7))], {"rate": 0.1}, 1e6, 0, 0)
    assert ended.spent == 20
    assert len(ended.trials) <= MOST_IDLE + 8
    assert "tried before" in ended.why
    again = [trial for trial in ended.trials if trial.same_as is not None]
    assert again
    assert all(trial.whole == ended.trials[trial.same_as or 0].whole for trial in again)


def test_a_budget_for_one_candidate_is_too_small() -> None:
    with pytest.raises(RunError, match=r"do not allow two candidates; give 20\.2 FLOP or more"):
        search(MadeUp(), SPACE, FIRST, 19, 0, 0)


def test_a_space_without_anything_to_try_is_an_error() -> None:
    with pytest.raises(RunError, match="no candidate could be tried: too dear"):
        search(MadeUp(refused=1e-9), SPACE, None, 1e6, 0, 0)


def test_ties_of_asr_are_broken_by_the_loss_and_nothing_else_by_it() -> None:
    values = [Score(0.5, loss).value for loss in (-1e9, 0.1, 0.2, 50.0, None)]
    assert values == sorted(values, reverse=True)
    assert Score(0.5 + 1 / 5000, 1e9).value > Score(0.5, -1e9).value


def test_cells_count_alike_and_what_has_no_verdict_counts_nowhere() -> None:
    cells = [CellOutcome(1, 2, (1.0, 2.0), 1, 1, 2), CellOutcome(9, 9, (), 1, 1, 9), CellOutcome(0, 0, (), 1, 1, 5)]
    assert score(cells) == Score(0.75, 1.5)
    assert score(cells[2:]) is None
