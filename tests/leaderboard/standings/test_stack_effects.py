"""Whether a stack does more or less than its parts, from made-up records whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.records.read import read_run
from leaderboard.fit.compared.stack_log_ratio import LogRatio, stack_log_ratio
from leaderboard.standings.stack_effects import StackEffect, stack_effects
from tests.leaderboard.fake_run import FakeCell, write_run


def ratio(*, none: float, parts: tuple[float, ...], stack: float, n: int = 400, seeds: int = 1) -> LogRatio:
    """Of independent columns of so many examples."""
    rng = np.random.default_rng(0)
    broken = [np.stack([rng.random(n) < p for p in (none, *parts, stack)], axis=1) for _ in range(seeds)]
    return stack_log_ratio(broken, [[f"{seed} {at}" for at in range(n)] for seed in range(seeds)])


@pytest.mark.parametrize("parts", [(0.4, 0.5), (0.6, 0.5, 0.5)])
def test_the_log_ratio_is_zero_where_the_parts_multiply(parts: tuple[float, ...]) -> None:
    none = 0.8
    product = none * float(np.prod([p / none for p in parts]))
    for factor in (1.0, 0.25, 2.0):
        found = ratio(none=none, parts=parts, stack=min(1.0, factor * product), n=20_000)
        assert found.value == pytest.approx(np.log(factor), abs=0.1)
        assert found.low <= found.value <= found.high


def test_a_stack_that_is_never_broken_has_a_ratio_too() -> None:
    found = ratio(none=1.0, parts=(0.5, 0.5), stack=0.0, n=50)
    assert np.isfinite([found.low, found.value, found.high]).all()
    assert found.value < -1


def test_seeds_that_differ_are_more_than_their_examples() -> None:
    """The stack holds in one seed and falls in the other: pooled examples alone would call it no stronger."""
    rng, n = np.random.default_rng(0), 200
    broken = [np.stack([rng.random(n) < p for p in (0.9, 0.5, 0.5, stack)], axis=1) for stack in (0.05, 0.5)]
    names = [[f"{seed} {at}" for at in range(n)] for seed in range(2)]
    two = stack_log_ratio(broken, names)
    one = stack_log_ratio([np.concatenate(broken)], [[name for of_seed in names for name in of_seed]])
    assert two.value == one.value
    assert two.high - two.low > 2 * (one.high - one.low)


def test_the_same_examples_under_several_seeds_are_one_draw() -> None:
    rng, n = np.random.default_rng(0), 100
    broken = np.stack([rng.random(n) < p for p in (0.9, 0.5, 0.5, 0.3)], axis=1)
    names = [str(at) for at in range(n)]
    once, thrice = stack_log_ratio([broken], [names]), stack_log_ratio([broken] * 3, [names] * 3)
    assert thrice.high - thrice.low > 0.9 * (once.high - once.low)  # not 1 / √3 of it


def test_where_a_part_alone_leaves_nothing_no_verdict_is_given(tmp_path: Path) -> None:
    """0 over 0 is no ratio, whatever smoothing makes of it."""

    def cell(defense: str, parts: tuple[str, ...], broken: int) -> FakeCell:
        first = [1] * broken + [0] * (40 - broken)
        facts = {"parts": [_part(part) for part in parts]}
        return FakeCell(defense=defense, first_success=first, more={"defense_facts": facts})

    def effect(filtered: int, stacked: int) -> StackEffect:
        cells = [cell("none", (), 30), cell("a", ("a",), 20), cell("b", ("b",), filtered)]
        cells.append(cell("a + b", ("a", "b"), stacked))
        folder = tmp_path / f"{filtered}-{stacked}"
        (found,) = stack_effects([read_run(write_run(folder, cells))])
        return found

    nothing = effect(0, 0)
    assert (nothing.effect, nothing.log_ratio) == ("", None)
    assert "of 40 examples 0.0 would fall behind independent parts, and 3 are needed" in nothing.note
    told = effect(20, 2)  # 13 would fall behind independent parts
    assert (told.effect, told.note, told.seeds) == ("above", "", 1)
    assert effect(20, 20).effect == "below"


def _part(name: str) -> dict[str, Any]:
    plugin = {"name": name, "label": name, "params": {}, "distribution": "x", "version": "1"}
    return {"defense": plugin, "sort": "guard", "offers": "victim"}
