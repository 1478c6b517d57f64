"""What is drawn for a replay: so many strings and cells of every row, whatever else stands in the file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from harness.records.read import Run, read_run
from leaderboard.submission.verification.sample import Sample, draw_sample
from tests.leaderboard.fake_run import FakeCell, write_run

LARGE, SMALL, LATENT = "none", "smoothing", "none, latent"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A row of 1,600 strings in four cells, one of 6 in one, and one whose attack changes activations."""
    cells = [FakeCell(attack=attack, seed=seed, steps=10) for attack in ("gcg", "beast") for seed in (0, 1)]
    cells += [FakeCell(defense=SMALL, steps=2, examples=3, first_success=[1, 0, 2])]
    cells += [FakeCell(attack="latent", space="latent")]
    return read_run(write_run(tmp_path_factory.mktemp("sample") / "run", cells))


def drawn(run: Run, count: int, seed: int = 0) -> Sample:
    return draw_sample(run, dict.fromkeys(cell.record.key for cell in run), count, "0" * 64, seed)


def row_of(sample: Sample) -> Counter[str]:
    """Strings by row."""
    found: Counter[str] = Counter()
    for cell in sample.cells:
        name = LATENT if cell.record.space == "latent" else cell.record.defense.label
        found[name] += len(cell.steps)
    return found


@pytest.mark.parametrize("count", [1, 5, 50])
def test_as_many_of_every_row(count: int, run: Run) -> None:
    sample = drawn(run, count)
    assert row_of(sample) == {LARGE: count, SMALL: min(6, count), LATENT: 0}
    cells = Counter(cell.record.defense.label + cell.record.space for cell in sample.cells)
    assert cells == {"nonetext": min(4, count), "smoothingtext": 1, "nonelatent": 1}
    assert (len(sample.rows), sample.strings) == (3, row_of(sample).total())
    assert (sample.recorded_strings, sample.all_cells) == (1606, 6)


def test_all_of_them_where_there_are_no_more(run: Run) -> None:
    assert row_of(drawn(run, 10**6)) == {LARGE: 1600, SMALL: 6, LATENT: 0}


def test_each_string_is_equally_likely(run: Run) -> None:
    """Of a cell's share of a row no more and no less is drawn, whichever step it is."""
    steps: Counter[int] = Counter()
    cells: Counter[str] = Counter()
    for seed in range(40):
        for cell in drawn(run, 100, seed).cells:
            if cell.record.defense.label == LARGE and cell.record.space == "text":
                steps.update(row.step for row in cell.steps)
                cells[cell.record.key] += len(cell.steps)
    total = steps.total()
    assert total == 40 * 100
    for counts, kinds in ((steps, 10), (cells, 4)):
        expected = total / kinds
        assert len(counts) == kinds
        assert np.abs(np.array(list(counts.values())) - expected).max() < 5 * np.sqrt(expected)


def test_a_cell_of_which_everything_was_left_out_is_asked_as_well(tmp_path: Path) -> None:
    cells = [FakeCell(steps=2), FakeCell(seed=1, examples=0, first_success=[], wrong=40, steps=2)]
    sample = drawn(read_run(write_run(tmp_path / "run", cells)), 2)
    assert {cell.record.seed: len(cell.steps) for cell in sample.cells} == {0: 2, 1: 0}
    assert all(len(cell.examples) in (40, 42) for cell in sample.cells)
