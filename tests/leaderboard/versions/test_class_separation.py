"""How far apart classes lie: against the definition, point by point, and out of a run's records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness.cli import main
from harness.errors import DataError
from harness.records.cell_manifest import DefenseFacts
from harness.records.read import read_run
from harness.run.cell.geometry import geometry
from leaderboard.versions.class_separation import class_separation, silhouette
from tests.leaderboard.fake_run import FakeCell, write_run

NAMES = [f"e{at}" for at in range(8)]  # of labels 0 and 1 in turn


def naive(points: np.ndarray, labels: list[int]) -> float:
    found = []
    for i, own in enumerate(labels):
        far = {
            other: [
                float(np.linalg.norm(points[i] - points[j])) for j, of in enumerate(labels) if of == other and j != i
            ]
            for other in set(labels)
        }
        if not far[own]:
            found.append(0.0)
            continue
        inside = sum(far[own]) / len(far[own])
        outside = min(sum(far[other]) / len(far[other]) for other in far if other != own)
        found.append((outside - inside) / max(inside, outside))
    return sum(found) / len(found)


@given(st.integers(0, 1000), st.lists(st.integers(0, 3), min_size=3, max_size=12).filter(lambda of: len(set(of)) > 1))
@settings(deadline=None, max_examples=60)
def test_silhouette_is_that_of_the_definition(seed: int, labels: list[int]) -> None:
    points = np.random.default_rng(seed).normal(size=(len(labels), 5))
    assert silhouette(points @ points.T, labels) == pytest.approx(naive(points, labels), abs=1e-6)


def test_silhouette_at_its_ends() -> None:
    apart = np.array([[0.0, 0], [0, 0.1], [100, 0], [100, 0.1]])
    assert silhouette(apart @ apart.T, [0, 0, 1, 1]) == pytest.approx(1, abs=1e-2)
    assert silhouette(apart @ apart.T, [0, 1, 0, 1]) == pytest.approx(-0.5, abs=0.01)
    assert silhouette(np.ones((4, 4)), [0, 0, 1, 1]) == 0
    assert silhouette(apart @ apart.T, [1, 1, 1, 1]) is None


def placed(seed: int, distance: float) -> FakeCell:
    """Two layers: classes that lie together, and classes so far apart."""
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(len(NAMES), 2, 4))
    states[1::2, 1] += distance
    facts = DefenseFacts(diagnostics={"geometry": geometry(NAMES, list(states))}).model_dump(mode="json")
    return FakeCell(seed=seed, examples=8, wrong=0, steps=2, more={"defense_facts": facts})


def test_of_a_run_by_layer_and_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells: list[Any] = [placed(0, 50.0), placed(1, 50.0)]
    run = write_run(tmp_path / "run", cells)
    near, far = class_separation(read_run(run))
    assert (near.layer, far.layer, far.seeds, far.prompts) == (0, 1, (0, 1), 8)
    assert near.mean < 0.3 < 0.9 < far.mean <= 1
    assert main(["fit", "class-separation", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [json.loads(json.dumps(row.to_json())) for row in (near, far)]
    assert main(["fit", "class-separation", str(run)]) == 0
    assert f"{far.mean:+.2f}" in capsys.readouterr().out
    bare = write_run(tmp_path / "bare", [FakeCell(examples=4, steps=2)])
    with pytest.raises(DataError, match="diagnostics: full"):
        class_separation(read_run(bare))
