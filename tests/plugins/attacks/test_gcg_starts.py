"""Several first strings. With the best so far they do what a buffer of strings does, as nanogcg has one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.records.journal import Journal
from tests.engine.toy import ToyBackend, searching, without_time
from tests.plugins.attacks.recorder import RecordingVictim
from tests.plugins.attacks.test_gcg import gcg, toy_problem


@pytest.mark.parametrize("size", [2, 5])
def test_the_search_takes_the_path_of_a_buffer(size: int) -> None:
    problem, victim = toy_problem(), RecordingVictim(ToyBackend())
    searching(victim, gcg(steps=12, candidates=6, topk=40, keep="best_so_far", starts=size)).run([problem])
    first, *scores = victim.scores
    assert len(first.request.candidates) == size
    assert len(scores) == len(victim.gradients) == 12
    strings = [tuple(row) for row in first.request.candidates.tolist()]
    buffer = sorted(zip(first.answer.tolist(), strings, strict=True))
    entered = 0
    for gradient, score in zip(victim.gradients, scores, strict=True):
        assert tuple(gradient.request.tokens.tolist()) == buffer[0][1]
        best = int(score.answer.argmin())
        new = float(score.answer[best]), tuple(score.request.candidates[best].tolist())
        if new[0] < buffer[-1][0]:  # a better candidate takes the place of the worst
            entered += new[0] >= buffer[0][0]
            buffer = sorted([*buffer[:-1], new])
    assert entered > 0  # strings that came in without being the best, and were never gone back to


def test_one_start_is_plain_gcg_and_more_are_scored_once(tmp_path: Path) -> None:
    problem = toy_problem()

    def run(name: str, **params: Any) -> list[Any]:
        with Journal(tmp_path / name) as journal:
            victim = RecordingVictim(ToyBackend())
            rows = searching(victim, gcg(steps=4, candidates=8, topk=30, **params)).run([problem], journal).rows
        return without_time(rows)

    assert [row.queries for row in run("whole", starts=6)] == [15, 9, 9, 9]
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").write_bytes(lines[0])
    assert run("cut", starts=6) == run("whole", starts=6)
    assert run("one", starts=1) == run("plain")
