"""Drift between two versions, from what cells record: 0 of one model, and of one that is turned; more of another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import ortho_group

from harness.records.cell_manifest import CellRecord, DefenseFacts
from harness.records.read import read_run
from harness.run.cell.geometry import geometry
from leaderboard.versions.representation_drift import representation_drift
from tests.leaderboard.fake_run import FakeCell, write_run

WIDTH, LAYERS, NAMES = 24, 3, [f"e{at}" for at in range(16)]
RNG = np.random.default_rng(0)
STATES = RNG.normal(size=(len(NAMES), LAYERS, WIDTH))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> CellRecord:
    (cell,) = read_run(write_run(tmp_path_factory.mktemp("run") / "run", [FakeCell(examples=2, steps=2)]))
    return cell.record


def of_states(record: CellRecord, states: np.ndarray, names: list[str] = NAMES) -> CellRecord:
    return with_geometry(record, geometry(names, list(states)))


def with_geometry(record: CellRecord, found: Any) -> CellRecord:
    return record.model_copy(update={"defense_facts": DefenseFacts(diagnostics={"geometry": found})})


def drift(old: CellRecord, new: CellRecord) -> list[float]:
    return [layer.drift for layer in representation_drift([(old, new)])]


def test_one_model_does_not_drift_nor_one_that_is_turned_stretched_moved_or_widened(record: CellRecord) -> None:
    old = of_states(record, STATES)
    assert drift(old, old) == pytest.approx([0.0] * LAYERS, abs=1e-12)
    turned = STATES @ ortho_group.rvs(WIDTH, random_state=1)
    for same in (turned, 3 * STATES, STATES + 5.0, np.concatenate([STATES, 0 * STATES], axis=2)):
        assert drift(old, of_states(record, same)) == pytest.approx([0.0] * LAYERS, abs=1e-4)


def test_the_more_changes_the_further_it_drifts_up_to_nothing_in_common(record: CellRecord) -> None:
    old = of_states(record, STATES)
    other = RNG.normal(size=STATES.shape)
    found = [np.mean(drift(old, of_states(record, STATES + share * other))) for share in (0.1, 0.5, 2.0)]
    assert 0 < found[0] < found[1] < found[2]
    apart = [np.mean(drift(old, of_states(record, RNG.normal(size=STATES.shape)))) for _ in range(40)]
    assert np.mean(apart) == pytest.approx(1.0, abs=0.05), "few prompts do not make strangers look alike"


def test_one_layer_that_changes_is_the_one_that_drifts(record: CellRecord) -> None:
    changed = STATES.copy()
    changed[:, 1] += RNG.normal(size=changed[:, 1].shape)
    found = drift(of_states(record, STATES), of_states(record, changed))
    assert found[1] > 0.1
    assert (found[0], found[2]) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_the_prompts_that_both_have_are_compared_whatever_their_order(record: CellRecord) -> None:
    mixed = [3, 1, 9, 14, 0, 7, 5]
    part = of_states(record, STATES[mixed], [NAMES[at] for at in mixed])
    assert drift(of_states(record, STATES), part) == pytest.approx([0.0] * LAYERS, abs=1e-12)
    assert drift(of_states(record, STATES), of_states(record, STATES[:4], NAMES[:4])) == [], "too few to tell"


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        "no",
        {"examples": NAMES},
        {"examples": NAMES, "layers": [{"layer": 0, "gram": [1.0]}]},
        {"examples": NAMES, "layers": [{"layer": 0, "gram": ["x"] * 136}]},
        {"examples": NAMES, "layers": [7]},
    ],
)
def test_what_is_not_recorded_or_not_of_the_form_is_no_drift(record: CellRecord, damaged: Any) -> None:
    assert drift(of_states(record, STATES), with_geometry(record, damaged)) == []
    assert representation_drift([(record, record)]) == ()


def test_activations_that_tell_no_prompts_apart_have_none(record: CellRecord) -> None:
    flat = np.ones_like(STATES)
    assert drift(of_states(record, flat), of_states(record, flat)) == []
