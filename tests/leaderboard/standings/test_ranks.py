"""Ranks: nobody is ranked below a row that it may beat."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, strategies as st

from harness.records.read import read_run
from leaderboard.standings.cost_to_break import CostToBreak
from leaderboard.standings.ranks import cost_bounds, ranks
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run


def at(compute: float | None, low: float | None, high: float | None, within: float = 1e9) -> CostToBreak:
    return CostToBreak(compute is not None, compute, low, high, "gcg", within, 10.0)


interval = st.tuples(st.floats(1, 1e9), st.floats(1, 1e9), st.booleans()).map(
    lambda t: at((t[0] + t[1]) / 2, min(t[:2]), None if t[2] else max(t[:2]))
)
rows = st.lists(
    st.one_of(interval, st.just(at(None, 5e8, None)), st.none(), st.just(at(None, None, None))), max_size=12
)


def test_ties_by_hand() -> None:
    hard, near, easy = at(1e9, 8e8, None), at(6e8, 4e8, 9e8), at(1e8, 9e7, 2e8)
    assert ranks([hard, near, easy]) == [1, 1, 3]
    assert ranks([easy, None, hard]) == [2, None, 1]


def test_what_is_not_broken_is_open_above_and_has_the_lower_end_of_its_draws() -> None:
    assert cost_bounds(at(None, 7e8, None)) == (7e8, float("inf"))
    assert ranks([at(None, 7e8, None), at(6e8, 5e8, 6.5e8), at(6e8, 5e8, 8e8)]) == [1, 2, 1]


@given(rows)
def test_laws(found: list[CostToBreak | None]) -> None:
    given_ranks = ranks(found)
    known = [(cost_bounds(row), rank) for row, rank in zip(found, given_ranks, strict=True) if rank is not None]
    assert len(known) == sum(cost_bounds(row) is not None for row in found)
    if known:
        assert min(rank for _, rank in known) == 1
    for mine, rank in known:
        for other, its in known:
            assert mine is not None
            assert other is not None
            if mine[0] > other[1]:  # surely harder
                assert rank < its
        assert mine is not None
        assert rank == 1 + sum(other[0] > mine[1] for other, _ in known if other is not None)


def test_a_static_row_has_no_rank_and_stands_below(tmp_path: Path) -> None:
    def cell(defense: str, hardness: float, adaptive: bool) -> FakeCell:
        plugin = {"name": defense, "label": defense, "params": {}, "distribution": "x", "version": "1"}
        parts = [{"defense": plugin, "sort": "guard", "offers": "victim"}]
        return FakeCell(
            defense=defense, hardness=hardness, more={"defense_facts": {"parts": parts, "adaptive": adaptive}}
        )

    cells = [cell("filter", 9.3, True), cell("filter (static)", 11.0, False), FakeCell()]
    (table,) = standings([read_run(write_run(tmp_path / "run", cells))])
    assert table.rows[-1].defense == "filter (static)"
    assert table.rows[-1].rank is None
    assert all(row.rank is not None for row in table.rows[:-1])
