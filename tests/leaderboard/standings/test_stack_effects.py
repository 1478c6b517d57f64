"""Whether a stack does more or less than its parts, from made-up records whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.records.read import read_run
from leaderboard.standings.stack_effects import StackEffect, _log_ratio, stack_effects
from tests.leaderboard.fake_run import FakeCell, write_run


def broken(*, none: float, parts: tuple[float, ...], stack: float, n: int = 400) -> np.ndarray:
    """Independent columns of so many examples, [1, n, cells]."""
    rng = np.random.default_rng(0)
    return np.stack([rng.random(n) < p for p in (none, *parts, stack)], axis=1)[None]


@pytest.mark.parametrize("parts", [(0.4, 0.5), (0.6, 0.5, 0.5)])
def test_the_log_ratio_is_zero_where_the_parts_multiply(parts: tuple[float, ...]) -> None:
    none = 0.8
    product = none * float(np.prod([p / none for p in parts]))
    for factor in (1.0, 0.25, 2.0):
        ratio = _log_ratio(broken(none=none, parts=parts, stack=min(1.0, factor * product), n=200_000))[0]
        assert ratio == pytest.approx(np.log(factor), abs=0.05)


def test_a_stack_that_is_never_broken_has_a_ratio_too() -> None:
    ratio = _log_ratio(broken(none=1.0, parts=(0.5, 0.5), stack=0.0, n=50))[0]
    assert np.isfinite(ratio)
    assert ratio < -1


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
    assert (told.effect, told.note) == ("above", "")
    assert effect(20, 20).effect == "below"


def _part(name: str) -> dict[str, Any]:
    plugin = {"name": name, "label": name, "params": {}, "distribution": "x", "version": "1"}
    return {"defense": plugin, "sort": "guard", "offers": "victim"}
