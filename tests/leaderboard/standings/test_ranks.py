"""Ranks: nobody is ranked below a row that it may beat, and nobody by what one model alone can tell."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given, settings, strategies as st

from harness.records.read import read_run
from leaderboard.fit.compared.harder_to_break import surely_harder
from leaderboard.fit.compute_to_target import SeedCurves
from leaderboard.site.texts.standing_text import cost_to_break_text, rank_text, rate_text
from leaderboard.standings.ranks.ranks import NO_RANK, NOT_TOLD_APART, ONE_SEED, ranks
from leaderboard.standings.standings import standings
from tests.benchmarks.intervals.simulated_seeds import Seeds
from tests.leaderboard.fake_run import FakeCell, write_run


def row(rng: np.random.Generator, asr: float, seeds: int) -> tuple[SeedCurves, ...]:
    return (Seeds(asr, level=0.1, tilt=0.1, steps=16).draw(rng, seeds, 100),)


def test_by_hand() -> None:
    rng = np.random.default_rng(0)
    hard, near, easy = row(rng, 0.02, 5), row(rng, 0.02, 5), row(rng, 0.999, 5)
    found = ranks([easy, hard, (), near], 0.5)
    assert [(rank.best, rank.worst) for rank in found] == [(3, 3), (1, 2), (None, None), (1, 2)]
    assert found[2] == NO_RANK


def test_compute_may_be_a_multiple_of_something() -> None:
    """Rows alike in FLOPs, of which one victim took a thousand times as much to make."""
    rng = np.random.default_rng(0)
    small, large = row(rng, 0.6, 5), row(rng, 0.6, 5)
    assert ranks([small, large], 0.5) == ranks([small, large], 0.5, [1e3, 1e3])
    found = ranks([small, large], 0.5, [1.0, 1e3])
    assert [(rank.best, rank.worst) for rank in found] == [(1, 1), (2, 2)]


def test_rows_that_are_not_told_apart_have_no_rank() -> None:
    rng = np.random.default_rng(0)
    assert {rank.note for rank in ranks([row(rng, 0.5, 2), row(rng, 0.5, 2)], 0.5)} == {NOT_TOLD_APART}


def test_groups_are_ranked_by_themselves_and_counted_by_their_pairs() -> None:
    rng = np.random.default_rng(0)
    hard, easy, other = row(rng, 0.02, 5), row(rng, 0.999, 5), row(rng, 0.999, 5)
    found = ranks([hard, other, easy], 0.5, groups=["a", "b", "a"])
    assert [(rank.best, rank.worst, rank.among) for rank in found] == [(1, 1, 2), (None, None, None), (2, 2, 2)]
    assert not surely_harder([hard, easy], 0.5, ["a", "b"]).any()


def test_rows_stand_by_rank_and_within_one_by_the_point(tmp_path: Path) -> None:
    """What the page says of its order, of rows that are near each other and unsure."""
    cells = [
        FakeCell(defense=f"d{at}", hardness=8.8 + 0.15 * (at % 7), slope=1.5 + at % 3, seed=seed, examples=30 + 50 * at)
        for at in range(9)
        for seed in range(2 + at % 3)
    ]
    (table,) = standings([read_run(write_run(tmp_path / "run", cells))])
    best = [row.rank.best or 1 for row in table.rows]
    assert best == sorted(best)
    assert len(set(best)) > 2
    for one, next_ in pairwise(table.rows):
        assert one.cost_to_break is not None
        assert next_.cost_to_break is not None
        if (one.rank.best or 1) == (next_.rank.best or 1):
            assert (one.cost_to_break.compute or np.inf) >= (next_.cost_to_break.compute or np.inf)


def test_one_seed_ranks_nothing_and_moves_no_other_row() -> None:
    rng = np.random.default_rng(0)
    hard, easy, one = row(rng, 0.02, 5), row(rng, 0.999, 5), row(rng, 0.02, 1)
    found = ranks([hard, one, easy], 0.5)
    assert found[1].best is None
    assert found[1].note == ONE_SEED
    without = ranks([hard, easy], 0.5)
    assert (found[0].harder_than, without[0].harder_than) == ((2,), (1,))  # by place in the list: of the same row
    assert [replace(rank, harder_than=()) for rank in (found[0], found[2])] == [
        replace(rank, harder_than=()) for rank in without
    ]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.sampled_from([0.02, 0.5, 0.99]), max_size=6), st.integers(2, 6))
def test_laws(number: int, asrs: list[float], seeds: int) -> None:
    rng = np.random.default_rng(number)
    rows = [row(rng, asr, seeds) for asr in asrs]
    found, harder = ranks(rows, 0.5), surely_harder(rows, 0.5)
    for i, mine in enumerate(found):
        assert (mine.best is None) == bool(mine.note) == (not harder[i].any() and not harder[:, i].any())
        if mine.best is not None:
            assert mine.worst is not None
            assert 1 <= mine.best <= mine.worst <= len(rows)
    for i, j in zip(*np.nonzero(harder), strict=True):
        one, other = found[i], found[j]
        assert one.best is not None
        assert other.worst is not None
        assert one.best <= other.worst


def test_a_table_says_which_ranks_a_row_may_have_and_why_one_has_none(tmp_path: Path) -> None:
    cells = [
        FakeCell(defense=defense, hardness=hardness, seed=seed, examples=100)
        for defense, hardness in (("none", 8.8), ("guard", 10.6))
        for seed in range(5)
    ]
    (table,) = standings([read_run(write_run(tmp_path / "run", [*cells, FakeCell(defense="filter")]))])
    texts = {row.defense: rank_text(row) for row in table.rows}
    assert texts["guard"] == ("1", "of 2")
    assert texts["none"] == ("2", "of 2")
    assert texts["filter"] == ("–", ONE_SEED)


def test_intervals_of_one_seed_say_that_they_are_of_one_model(tmp_path: Path) -> None:
    cells = [FakeCell(), *(FakeCell(defense="guard", seed=seed) for seed in range(2))]
    (table,) = standings([read_run(write_run(tmp_path / "run", cells))])
    one, two = sorted(table.rows, key=lambda row: row.seeds)
    for found, seeds in ((one, 1), (two, 2)):
        assert found.asr is not None
        assert found.clean is not None
        assert found.seeds == found.asr.seeds == found.clean.seeds == seeds
        for _, fine in (rate_text(found.asr), rate_text(found.clean), cost_to_break_text(found)):
            assert ("one model only" in fine) == (seeds == 1)


def test_a_static_row_has_no_rank_and_stands_below(tmp_path: Path) -> None:
    def cell(defense: str, hardness: float, adaptive: bool, seed: int) -> FakeCell:
        plugin = {"name": defense, "label": defense, "params": {}, "distribution": "x", "version": "1"}
        parts = [{"defense": plugin, "sort": "guard", "offers": "victim"}]
        return FakeCell(
            defense=defense,
            hardness=hardness,
            seed=seed,
            examples=100,
            more={"defense_facts": {"parts": parts, "adaptive": adaptive}},
        )

    cells = [cell("filter", 10.3, True, seed) for seed in range(4)]
    cells += [cell("filter (static)", 11.0, False, seed) for seed in range(4)]
    cells += [FakeCell(hardness=8.8, seed=seed, examples=100) for seed in range(4)]
    (table,) = standings([read_run(write_run(tmp_path / "run", cells))])
    assert table.rows[-1].defense == "filter (static)"
    assert table.rows[-1].rank.best is None
    assert table.rows[-1].rank.note.startswith("static")
    assert all(row.rank.best is not None for row in table.rows[:-1])
